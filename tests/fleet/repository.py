"""A signed package repository, as a directory."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from email.utils import formatdate
from typing import TYPE_CHECKING

from support.tools import needed

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "Test repository <repository@localhost>"


class Repository:
    """Publishes packages, and signs their list with a key of its own.

    Attributes:
        key: Its public key, ASCII-armoured.

    Args:
        directory: For the key and the packages.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "repository"
        self.path.mkdir()
        home = directory / "gnupg"
        home.mkdir(mode=0o700)
        self._gpg = [needed("gpg", "apt-get install gnupg"), "--homedir", str(home), "--batch", "--quiet"]
        self._run("--passphrase", "", "--quick-generate-key", _NAME, "default", "default", "never")
        self.key = self._run("--armor", "--export")

    def publish(self, *packages: Path) -> None:
        """Have these in it, and no others."""
        shutil.rmtree(self.path)
        self.path.mkdir()
        entries = []
        for package in packages:
            shutil.copy(package, self.path)
            about = subprocess.run(["dpkg-deb", "--field", str(package)], capture_output=True, text=True, check=True)
            data = package.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            entries.append(f"{about.stdout}Filename: ./{package.name}\nSize: {len(data)}\nSHA256: {digest}\n")
        listed = "\n".join(entries).encode()
        (self.path / "Packages").write_bytes(listed)
        digest = hashlib.sha256(listed).hexdigest()
        release = f"Date: {formatdate(usegmt=True)}\nSHA256:\n {digest} {len(listed)} Packages\n"
        (self.path / "Release").write_text(release)
        self._run("--clearsign", "--output", str(self.path / "InRelease"), str(self.path / "Release"))

    def _run(self, *args: str) -> str:
        return subprocess.run([*self._gpg, *args], capture_output=True, text=True, check=True).stdout
