"""What the scenarios install: this checkout as wheels and packages, each also under the version before."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deb import build
from host.rootfs import ROOT

from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILT = ROOT / "build/fleet"
OLDER = "0.0.9"
"""The version that an upgrade begins with."""
_COPIED = ("runqy_worker", "packaging", "requirements", "docs", "systemd", "README.md", "LICENSE", "pyproject.toml")


def wheel(version: str = __version__, changed: Mapping[str, str] | None = None) -> Path:
    """A wheel of the checkout, under a version of choice, and with files changed: path -> text."""
    with tempfile.TemporaryDirectory(prefix="runqy-wheel-") as scratch:
        tree = _copy(Path(scratch), version)
        for name, text in (changed or {}).items():
            (tree / name).write_text(text)
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
                *("--disable-pip-version-check", "--wheel-dir", scratch, str(tree)),
            ],
            check=True,
        )
        (made,) = Path(scratch).glob("runqy_worker-*.whl")
        return _put(made, BUILT / "wheels" / version)


def package(suite: str, revision: str = "") -> Path:
    """The Debian package of a suite; with a revision, a newer one."""
    return build(suite, revision, check=False)


def source() -> Path:
    """The worker's code as an archive, for the control servers of the machines."""
    with tempfile.TemporaryDirectory(prefix="runqy-source-") as scratch:
        path = Path(scratch) / "source.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(ROOT / "runqy_worker", "source/runqy_worker", filter=_without_bytecode)
        return _put(path, BUILT)


def collections() -> Path:
    """A collections path on which the checkout's collection is."""
    link = BUILT / "collections/ansible_collections/runqy/worker"
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        link.symlink_to(ROOT / "ansible")
    return BUILT / "collections"


def _put(file: Path, folder: Path) -> Path:
    """Move a file there in one step: tests that run side by side make the same ones."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{os.getpid()}-{file.name}"
    shutil.copy(file, new)
    return new.rename(folder / file.name)


def _copy(scratch: Path, version: str) -> Path:
    tree = scratch / "tree"
    for name in _COPIED:
        kind = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        kind(ROOT / name, tree / name)
    told = tree / "runqy_worker/version.py"
    told.write_text(re.sub(r'^__version__ = ".+"$', f'__version__ = "{version}"', told.read_text(), flags=re.MULTILINE))
    return tree


def _without_bytecode(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
