"""Locks between processes that share the deployment directory, and leases on what is in use.

Both are `flock` locks: the kernel drops them when the last process that holds the descriptor is gone, so nothing
stale is left after a kill. Commands don't inherit them: the kernel ends a deploy's commands with the daemon, and what
those started may linger without keeping the next deploy waiting.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

_POLL = 0.1


class FileLock:
    """One open lock file. Not shared between tasks.

    Args:
        path: The lock file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def try_take(self, *, shared: bool = False) -> bool:
        """Take the lock if nobody is in the way. A lock that is held already changes its kind."""
        while True:
            if self._fd < 0:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if self._is_current():
                return True
            self.drop()  # the file was removed by a clean-up in between: lock the one that stands there now

    def drop(self) -> None:
        """Give the lock up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_current(self) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


@asynccontextmanager
async def locked(
    path: Path,
    *,
    step: str,
    timeout: float,  # noqa: ASYNC109 - the wait polls, so that a cancelled deploy leaves no thread behind
    on_wait: Callable[[], None] | None = None,
) -> AsyncIterator[FileLock]:
    """Hold the lock for the length of a block.

    Args:
        path: The lock file.
        step: Names the step in the error.
        timeout: Seconds to wait for it.
        on_wait: Called once when somebody else holds it.

    Raises:
        DeploymentError: Somebody else held it all the time.
    """
    lock = FileLock(path)
    try:
        await wait_for(lock, step=step, timeout=timeout, on_wait=on_wait)
        yield lock
    finally:
        lock.drop()


async def wait_for(
    lock: FileLock,
    *,
    step: str,
    timeout: float,  # noqa: ASYNC109 - as above
    shared: bool = False,
    on_wait: Callable[[], None] | None = None,
) -> None:
    """Take a lock, waiting for whoever holds it. Arguments and errors as for `locked`."""
    deadline = time.monotonic() + timeout
    told = False
    while not lock.try_take(shared=shared):
        if not told and on_wait is not None:
            on_wait()
        told = True
        if time.monotonic() >= deadline:
            message = f"another process has held {lock.path} for {timeout:g} s"
            raise DeploymentError(message, step=step)
        await asyncio.sleep(_POLL)
