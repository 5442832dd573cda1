"""Whether code needs more of its repository than its own folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_READ = {".py", ".toml", ".txt", ".in", ".cfg", ".sh", ".json", ".yml", ".yaml", ".lock", ".pth"}
_LARGEST = 1_000_000
_MOST_FILES = 5000
# Ways to name a folder above: ../ in any file, and the idioms of Python.
_ABOVE = re.compile(r"\.\.[/\"']|os\.pardir|\.parents\[|\.parent\.parent|dirname\([^)]*dirname\(")


def reaches_outside(checkout: Path, code_path: str) -> bool:
    """Whether links or file contents under the code path name something above it.

    Errs on the side of True, which only costs a larger checkout.

    Args:
        checkout: The repository's root.
        code_path: The folder, relative to it.
    """
    folder = checkout / code_path
    roots = (folder, checkout)
    if not folder.is_dir():
        return True
    for seen, file in enumerate(_files(folder)):
        if seen >= _MOST_FILES:
            return True
        if file.is_symlink():
            if not file.resolve().is_relative_to(folder.resolve()):
                return True
        elif file.suffix in _READ and file.stat().st_size <= _LARGEST and _ABOVE.search(_text(file)):
            return True
    if _is_built_above(checkout, folder):
        return True
    return any(_local_path(file) for root in roots for file in root.glob("requirements*.txt"))


def _is_built_above(checkout: Path, folder: Path) -> bool:
    """Whether the repository's project may be what is installed: it can only be built from all of its files."""
    own = any((folder / name).is_file() for name in ("requirements.txt", "pyproject.toml"))
    return not own and not (checkout / "requirements.txt").is_file() and (checkout / "pyproject.toml").is_file()


def _local_path(requirements: Path) -> bool:
    """Whether a requirements file (also one of the root, used when the folder has none) installs a local folder."""
    lines = (line.strip() for line in _text(requirements).splitlines())
    return any(line.startswith(("-e ", "--editable", "./", "file:")) or " @ file:" in line for line in lines)


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.rglob("*"):
        if entry.is_symlink() or entry.is_file():
            yield entry


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
