"""The pipe out of a process: what it prints is handed on as it comes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

AT_ONCE = 64 * 1024
"""Bytes read in one turn of the event loop: what a pipe holds."""


class OutputPipe:
    """Our end of a process's stdout or stderr.

    Args:
        fd: The read end; owned from now on.
        loop: Tells when there is something to read.
        received: Called with what was read.
        closed: Called once when nothing more can come; not after `close`.
    """

    def __init__(
        self, fd: int, loop: asyncio.AbstractEventLoop, received: Callable[[bytes], None], closed: Callable[[], None]
    ) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = loop
        self._received = received
        self._closed = closed
        loop.add_reader(fd, self._read)

    def close(self) -> None:
        """Read no more."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> None:
        try:
            data = os.read(self._fd, AT_ONCE)
        except BlockingIOError:
            return
        if data:
            self._received(data)
        else:
            self.close()
            self._closed()
