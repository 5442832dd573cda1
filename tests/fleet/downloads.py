"""What machines without a network install from: wheels as the index has them, so that their hashes hold."""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from host.rootfs import BUILD, ROOT

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
PINS = ROOT / "requirements/package.txt"
_NEWEST_ANSIBLE = ROOT / "requirements/ansible-newest.txt"
_TOOLS = ("setuptools", "wheel")
"""What builds the one dependency that is there as a source only."""
_KEY_LENGTH = 12


def packages(suite: str) -> Path:
    """A directory of the worker's dependencies for the suite's Python, and of uv."""
    return _fetched("fleet", suite, PINS, _uv(), *_TOOLS)


def newest_ansible(suite: str) -> Path:
    """A directory with the newest ansible-core, which needs a newer Python than that of Debian 12."""
    return _fetched("ansible", suite, _NEWEST_ANSIBLE)


def _uv() -> str:
    found = re.search(r"^uv==\S+", (ROOT / "requirements/test.txt").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("requirements/test.txt has no uv")
    return found[0]


def _fetched(kind: str, suite: str, pins: Path, *others: str) -> Path:
    """A directory of what pip downloads for the suite's Python; one that was made of the same pins is taken again."""
    key = hashlib.sha256(f"{suite}\n{others}\n{pins.read_text()}".encode()).hexdigest()[:_KEY_LENGTH]
    path = BUILD / "wheels" / f"{kind}-{suite}-{key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{kind}-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            new = path.with_suffix(".new")
            _fetch(new, suite, "--require-hashes", "--requirement", str(pins))
            if others:
                _fetch(new, suite, *others)
            new.rename(path)
    return path


def _fetch(directory: Path, suite: str, *what: str) -> None:
    platforms = (word for name in ("2_28", "2_17") for word in ("--platform", f"manylinux_{name}_x86_64"))
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--dest", str(directory), "--implementation", "cp", "--python-version", PYTHON[suite], *platforms, *what),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pip download failed (exit code {done.returncode}):\n{done.stderr[-4000:]}")
