"""A file that names the running daemon, locked for as long as that lives."""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import RunqyError

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE, _PAUSE = 1.0, 0.05
"""Seconds: a killed daemon is gone only once the last of its threads is, and who asks for its state locks, too."""


class PidFileError(RunqyError):
    """Another daemon holds the file, or it can't be written."""


class PidFile:
    """The file.

    The lock is the kernel's, shared with every process that was forked since: what the file says proves nothing, and
    one that a killed daemon left is simply taken over.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = -1

    def take(self) -> None:
        """Lock it, for whoever inherits the descriptor too.

        Raises:
            PidFileError: Another daemon has it, which is named; or it can't be written.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise PidFileError(f"the pid file {self.path} can't be written: {error.strerror}") from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                os.close(descriptor)
                if time.monotonic() > deadline:
                    raise PidFileError(f"a worker runs already, process {other or '?'}, says {self.path}") from None
                time.sleep(_PAUSE)
                continue
            if self._is_still_there(descriptor):
                self.descriptor = descriptor
                return
            os.close(descriptor)  # its owner removed it between the two calls

    def write(self) -> None:
        """Name this process in it."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def remove(self) -> None:
        """The daemon ends: nobody is named any more. The lock goes with the process."""
        self.path.unlink(missing_ok=True)

    def _is_still_there(self, descriptor: int) -> bool:
        try:
            there = os.stat(self.path)  # noqa: PTH116 - compared with a descriptor's
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(descriptor))
