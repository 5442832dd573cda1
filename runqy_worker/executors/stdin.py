"""The pipe into a process: writes never block, and it is known what the process did not read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

WIDE = 1024 * 1024
"""Bytes that a pipe holds which was full once; the kernel's usual limit."""


class StdinPipe:
    """Our end of a process's stdin.

    Args:
        fd: The write end; owned from now on.
        loop: Tells when there is room again.
        on_broken: Called once when the process no longer reads.
    """

    def __init__(self, fd: int, loop: asyncio.AbstractEventLoop, on_broken: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._loop = loop
        self._on_broken = on_broken
        self._backlog: deque[memoryview] = deque()
        self._broken = False
        self._widened = False
        self._lost = 0

    def write(self, data: bytes) -> None:
        """Send it now as far as there is room, the rest as soon as the process has read."""
        if self._broken or self._fd < 0:
            self._lost += len(data)
        elif self._backlog:
            self._backlog.append(memoryview(data))
        else:
            sent = self._send(data)
            if sent < len(data) and not self._broken:
                self._widen()
                self._backlog.append(memoryview(data)[sent:])
                self._loop.add_writer(self._fd, self._continue)

    def unread(self) -> int:
        """Bytes written of which it is sure that the process never read them; also after its death.

        Once the pipe was closed here, it is not known of what was in the pipe then.
        """
        if self._fd < 0:
            return self._lost
        in_pipe: int = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, b"\0\0\0\0"))[0]
        return in_pipe + self._lost + sum(map(len, self._backlog))

    def close(self) -> None:
        """The process reads the end of file after what is in the pipe."""
        if self._fd < 0:
            return
        if self._broken:
            self._lost = self.unread()
        elif self._backlog:
            self._lost += sum(map(len, self._backlog))
            self._loop.remove_writer(self._fd)
            self._backlog.clear()
        os.close(self._fd)
        self._fd = -1

    def _widen(self) -> None:
        """Make the pipe as large as it may be, once it has shown to be too small: each time it is full, two switch."""
        if not self._widened:
            self._widened = True
            with contextlib.suppress(OSError):  # the limits of this user or this system
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, WIDE)

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._break(len(data))
            return 0

    def _continue(self) -> None:
        while self._backlog:
            part = self._backlog[0]
            sent = self._send(part)
            if self._broken:
                return
            if sent < len(part):
                self._backlog[0] = part[sent:]
                return
            self._backlog.popleft()
        self._loop.remove_writer(self._fd)

    def _break(self, unsent: int) -> None:
        self._broken = True
        if self._backlog:
            self._loop.remove_writer(self._fd)
            unsent = sum(map(len, self._backlog))
            self._backlog.clear()
        self._lost += unsent
        self._loop.call_soon(self._on_broken)
