"""What a machine without a network installs the worker from: all as the index has it, so that its hashes hold."""

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
_TOOLS = ("setuptools", "wheel")
"""What builds the one dependency that is there as a source only."""
_KEY_LENGTH = 12


def downloads(suite: str) -> Path:
    """A directory of the worker's dependencies for the suite's Python, and of uv."""
    uv = _uv()
    key = hashlib.sha256(f"{suite}\n{uv}\n{PINS.read_text()}".encode()).hexdigest()[:_KEY_LENGTH]
    path = BUILD / "wheels" / f"fleet-{suite}-{key}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"fleet-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            new = path.with_suffix(".new")
            _fetch(new, suite, "--require-hashes", "--requirement", str(PINS))
            _fetch(new, suite, uv, *_TOOLS)
            new.rename(path)
    return path


def _uv() -> str:
    found = re.search(r"^uv==\S+", (ROOT / "requirements/test.txt").read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError("requirements/test.txt has no uv")
    return found[0]


def _fetch(directory: Path, suite: str, *what: str) -> None:
    platforms = (word for name in ("2_28", "2_17") for word in ("--platform", f"manylinux_{name}_x86_64"))
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--dest", str(directory), "--implementation", "cp", "--python-version", PYTHON[suite], *platforms, *what),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pip download failed (exit code {done.returncode}):\n{done.stderr[-4000:]}")
