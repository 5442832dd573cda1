"""Keeps the daemon's memory, where its secrets are, from other processes of the same user: task code is one."""

from __future__ import annotations

import ctypes
import sys

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Nobody but root may look into this process from now on: not with a debugger, nor by way of /proc.

    Core dumps are not written either. What it starts is not affected. Does nothing where there is no prctl(2).

    Raises:
        OSError: The kernel refused.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the process can't be hidden from others of its user (prctl)")
