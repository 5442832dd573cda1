"""Learns of a process's end without blocking and without a thread, where the kernel offers a way."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    import subprocess
    from collections.abc import Callable


def watch_exit(
    process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, exited: Callable[[int], None]
) -> None:
    """Call `exited` with the return code on the loop's thread once the process has ended; it is reaped then.

    A descriptor for the process becomes readable at its end (Linux); elsewhere a thread waits.
    """
    try:
        fd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        waiter = threading.Thread(target=_wait, args=(process, loop, exited), name=f"wait {process.pid}", daemon=True)
        waiter.start()
        return

    def ended() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        exited(process.wait())

    loop.add_reader(fd, ended)


def _wait(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, exited: Callable[[int], None]) -> None:
    returncode = process.wait()
    if not loop.is_closed():
        loop.call_soon_threadsafe(exited, returncode)
