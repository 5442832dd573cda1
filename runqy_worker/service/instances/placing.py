"""Puts several files in place, all or none."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that is to be there.

    Attributes:
        path: Where. Its directory is made when it is missing.
        data: What is in it.
        mode: Its permissions.
        directory_mode: Those of the directory, where that has to be made.
    """

    path: Path
    data: bytes
    mode: int = 0o644
    directory_mode: int = 0o755


def place(files: Sequence[NewFile], unwanted: Sequence[Path] = ()) -> None:
    """Write the files, and remove the unwanted ones. Later files appear last; what was there before is replaced.

    Everything is written under other names first and then renamed, so that nobody ever sees a part of a file. When
    something fails, what was there before is back.

    Raises:
        OSError: It failed.
    """
    made: list[Path] = []
    staged: list[tuple[Path, NewFile]] = []
    undo: list[tuple[Path, Path | None]] = []
    try:
        for file in files:
            made += _make_directory(file.path.parent, file.directory_mode)
            staged.append((_stage(file), file))
        for temporary, file in staged:
            undo.append((file.path, _keep(file.path)))
            temporary.replace(file.path)
        for path in filter(os.path.lexists, unwanted):
            undo.append((path, _keep(path)))
            path.unlink()
    except BaseException:
        _undo(undo)
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
        for directory in reversed(made):
            with suppress(OSError):  # somebody else uses it by now
                directory.rmdir()
        raise
    for kept in filter(None, (kept for _, kept in undo)):
        kept.unlink()
    for directory in {path.parent for path, _ in undo}:
        _sync(directory)


def _undo(changes: list[tuple[Path, Path | None]]) -> None:
    for path, kept in reversed(changes):
        if kept is None:
            path.unlink(missing_ok=True)
        else:
            kept.replace(path)


def _make_directory(directory: Path, mode: int) -> list[Path]:
    """Make it and what is missing above it; returns what was made, the topmost first."""
    if directory.is_dir():
        return []
    made = _make_directory(directory.parent, 0o755)
    directory.mkdir()
    directory.chmod(mode)
    return [*made, directory]


def _stage(file: NewFile) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{file.path.name}.", dir=file.path.parent)
    temporary = file.path.with_name(os.path.basename(name))  # noqa: PTH119 - a name, not a path
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.data)
            os.fchmod(stream.fileno(), file.mode)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _keep(path: Path) -> Path | None:
    """Give what is there a second name, from which it can be brought back."""
    if not os.path.lexists(path):
        return None
    kept = path.with_name(f".{path.name}.before")
    kept.unlink(missing_ok=True)
    os.link(path, kept, follow_symlinks=False)
    return kept


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
