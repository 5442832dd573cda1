"""Learns of a process's end without blocking and without a thread, where the kernel offers a way."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def watch_exit(
    pid: int, wait: Callable[[], int], loop: asyncio.AbstractEventLoop, exited: Callable[[int], None]
) -> None:
    """Call `exited` with the return code on the loop's thread once the child has ended; it is reaped then.

    A descriptor for the process becomes readable at its end (Linux); elsewhere a thread waits.

    Args:
        pid: Of the child, which must not have been reaped.
        wait: Blocks until it has ended, reaps it, and gives the return code.
        loop: Watches.
        exited: Called once.
    """
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        threading.Thread(target=_wait, args=(wait, loop, exited), name=f"wait {pid}", daemon=True).start()
        return

    def ended() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        exited(wait())

    loop.add_reader(fd, ended)


def wait_for_exit(pid: int) -> int:
    """Reap a child that was not started through `subprocess`: its exit code, or a signal's number below zero."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _wait(wait: Callable[[], int], loop: asyncio.AbstractEventLoop, exited: Callable[[int], None]) -> None:
    returncode = wait()
    if not loop.is_closed():
        loop.call_soon_threadsafe(exited, returncode)
