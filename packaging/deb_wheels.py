"""Fetches what a Debian package holds, is built and is tested with, before the build: that one has no network."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SERIES = {"bookworm": "3.11", "trixie": "3.13"}
"""Suite -> its Python."""

_LISTS = ("package.txt", "build.txt", "check.txt")
_GLIBC = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux2014", "manylinux_2_17")
"""Which wheels fit, newest first; both suites have a newer glibc than these ask for."""


def wheels(suite: str) -> Path:
    """A folder with all files that `requirements/` names for this suite's Python; fetched once for each state of it.

    Raises:
        subprocess.CalledProcessError: One can't be fetched, or has another hash.
    """
    lists = [ROOT / "requirements" / name for name in _LISTS]
    state = hashlib.sha256(f"{SERIES[suite]} {platform.machine()} ".encode())
    for each in lists:
        state.update(each.read_bytes())
    folder = ROOT / "build/wheels" / f"{SERIES[suite]}-{state.hexdigest()[:20]}"
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for each in lists:
            _fetch(each, SERIES[suite], partial)
        partial.rename(folder)
    return folder


def _fetch(requirements: Path, series: str, folder: Path) -> None:
    """Fetch wheels where there are any; the rest are sources, small and built without a compiler."""
    fitting = [f"--platform={each}_{platform.machine()}" for each in _GLIBC]
    abis = [f"--abi={each}" for each in (f"cp{series.replace('.', '')}", "abi3", "none")]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--require-hashes", "--no-build-isolation", "--implementation=cp", f"--python-version={series}"),
        *(*fitting, *abis, f"--dest={folder}", f"--requirement={requirements}"),
    ]
    subprocess.run(command, check=True)
