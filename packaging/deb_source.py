"""The source of a Debian package for one suite: what is copied from the checkout, under which version and date."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASES = {"bookworm": 12, "trixie": 13}
"""Suite -> the number of its Debian release. The version has it, so that an upgrade of the host is one of this too."""

_PARTS = (
    *("debian", "docs", "examples", "packaging", "requirements", "runqy_worker", "systemd"),
    *("tests/conftest.py", "tests/support", "tests/unit", "CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """The source of one package.

    Attributes:
        suite: Where it is built, and installed later.
        version: Of the package: `0.1.0+deb12`.
        commit: Full hash, with `-dirty` when files differ from it.
        date: Of the commit, as mails write it; the date of all files that are made.
        files: Copied from the checkout, by their path below it.
    """

    suite: str
    version: str
    commit: str
    date: str
    files: tuple[str, ...]

    def digest(self) -> str:
        """Changes whenever the package could."""
        state = hashlib.sha256(f"{self.suite}\n{self.version}\n{self.commit}\n{self.date}".encode())
        for name in self.files:
            state.update(f"\n{name}\n".encode() + (ROOT / name).read_bytes())
        return state.hexdigest()[:20]

    def copy(self, tree: Path) -> None:
        """Make a source tree of it, which must not exist yet."""
        for name in self.files:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
        changelog = tree / "debian/changelog"
        told = re.sub(r"\A(\S+) \(.*?\) \S+;", rf"\1 ({self.version}) {self.suite};", changelog.read_text())
        changelog.write_text(re.sub(r"^( -- .*>  ).*$", rf"\g<1>{self.date}", told, count=1, flags=re.MULTILINE))
        made = f'"""Which build this is."""\n\nCOMMIT = "{self.commit}"\nDATE = "{_git("log", "-1", "--format=%cI")}"\n'
        (tree / "runqy_worker/_build.py").write_text(made)


def source(suite: str, revision: str = "") -> Source:
    """The source as the checkout is now.

    Args:
        suite: One of `RELEASES`.
        revision: Told apart from other builds of the same version by it: `1`, `2`.
    """
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "runqy_worker/version.py").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("runqy_worker/version.py names no version")
    version = f"{found[1]}+deb{RELEASES[suite]}" + (f".{revision}" if revision else "")
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_PARTS).split("\0")
    files = sorted({name for name in listed if name and (ROOT / name).is_file()})
    changed = "-dirty" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return Source(suite, version, _git("rev-parse", "HEAD") + changed, _git("log", "-1", "--format=%cD"), tuple(files))


def _git(*args: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *args], check=True, capture_output=True, text=True).stdout.strip()
