"""Clocks that are minutes off, and jump: what a process takes for the wall clock is moved, nothing else."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from support.tools import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("wall_clock.c")


def build_library(target: Path) -> Path:
    """The library that moves the wall clock of a program that is linked with libc: Python, Redis."""
    compiler = needed("cc", "apt-get install gcc libc6-dev; it builds what moves a process' clock")
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", target, SOURCE, "-ldl"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


class WallClock:
    """One host's clock, so many seconds ahead of the true time. Setting it makes it jump.

    Args:
        path: Where the offset is kept; processes that go by this clock have the file mapped.
        library: What moves their clock; None for a Go program that is built for it.
    """

    def __init__(self, path: Path, library: Path | None, ahead: int = 0) -> None:
        self._path = path
        self._library = library
        self._path.write_bytes(struct.pack("<q", ahead))
        self.ahead = ahead

    def set(self, ahead: int) -> None:
        """From now on it is so many seconds ahead."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("<q", ahead))
        self.ahead = ahead

    @property
    def environ(self) -> dict[str, str]:
        """For a process that is to go by it."""
        preload = {"LD_PRELOAD": str(self._library)} if self._library else {}
        return {"WALL_OFFSET_FILE": str(self._path), **preload}

    @contextlib.contextmanager
    def worn(self) -> Iterator[None]:
        """Processes that are started meanwhile go by it; those that they start don't."""
        os.environ.update(self.environ)
        try:
            yield
        finally:
            for name in self.environ:
                del os.environ[name]
