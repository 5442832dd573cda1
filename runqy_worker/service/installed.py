"""Whether the files of this program are still those that run: an upgrade may have replaced them beneath it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from runqy_worker.version import __version__

PACKAGE = Path(__file__).parents[1]
_VERSION = re.compile(r"""^__version__\s*=\s*["']([^"']+)""", re.MULTILINE)
_MODULES = (".py", ".lua")


class InstalledFiles:
    """The package's files as they are when this is made. Reads the disk.

    Args:
        package: Their directory.
    """

    def __init__(self, package: Path = PACKAGE) -> None:
        self._package = package
        self._files = _look(package)

    def change(self) -> str:
        """How those on the disk differ from the ones that run; empty when they don't."""
        if _look(self._package) == self._files:
            return ""
        version = self._version()
        if version == __version__:
            return f"the program's files on disk are others than those that run (both are version {version})"
        return f"version {__version__} runs, and {version or 'none'} is installed"

    def _version(self) -> str:
        try:
            found = _VERSION.search((self._package / "version.py").read_text(encoding="utf-8"))
        except OSError:
            return ""
        return found[1] if found else ""


def _look(directory: str | Path) -> frozenset[tuple[str, int, int]]:
    """Path, size and time of change of each module."""
    found: set[tuple[str, int, int]] = set()
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        found |= _look(entry.path)
                elif entry.name.endswith(_MODULES):
                    status = entry.stat()
                    found.add((entry.path, status.st_size, status.st_mtime_ns))
    except OSError:  # removed while it was looked at
        return frozenset(found)
    return frozenset(found)
