"""Which build this is."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runqy_worker.version import __version__

UNKNOWN = "unknown"
GENERATED = "runqy_worker._build"
"""Module that packaging may generate, with `COMMIT` and `DATE`."""


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What is known of this build.

    Attributes:
        version: Of the package.
        commit: Full hash, `-dirty` behind it when files differ from it; or `unknown`.
        date: When it was built or, in a checkout, committed: ISO 8601, or `unknown`.
        python: The interpreter that runs it, such as `CPython 3.11.2`.
    """

    version: str
    commit: str
    date: str
    python: str

    def as_dict(self) -> dict[str, str]:
        """The same, JSON-ready."""
        return {"version": self.version, "commit": self.commit, "date": self.date, "python": self.python}


def packaged_build() -> BuildInfo:
    """What packaging wrote down, and no more: starts no command."""
    commit, date = _generated() or (UNKNOWN, UNKNOWN)
    return BuildInfo(__version__, commit, date, _python())


def build_info(source: Path | None = None) -> BuildInfo:
    """What is known of this build: from the generated module, else from git when run from a checkout.

    Args:
        source: The directory that holds the package; where this one lies, by default.
    """
    commit, date = _generated() or _checkout(source or Path(__file__).parents[2]) or (UNKNOWN, UNKNOWN)
    return BuildInfo(__version__, commit, date, _python())


def _python() -> str:
    name = {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name, sys.implementation.name)
    return f"{name} {sys.version.split(maxsplit=1)[0]}"  # what `platform` says, which costs milliseconds to load


def _generated() -> tuple[str, str] | None:
    try:
        module = importlib.import_module(GENERATED)
    except ModuleNotFoundError:
        return None
    return str(getattr(module, "COMMIT", UNKNOWN)), str(getattr(module, "DATE", UNKNOWN))


def _checkout(source: Path) -> tuple[str, str] | None:
    """Commit and its date, if `source` is the top of a checkout; an installed copy inside another's is not."""
    if not (source / ".git").exists() or not (source / "pyproject.toml").exists() or shutil.which("git") is None:
        return None
    known = _git(source, "log", "-1", "--format=%H %cI")
    if known is None:
        return None
    commit, _, date = known.partition(" ")
    changed = _git(source, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit, date


def _git(source: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(source), *args], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # not owned by us, no commit yet, git broken: simply not known
        return None
    return done.stdout.strip()
