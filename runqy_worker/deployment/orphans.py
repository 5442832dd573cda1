"""Commands of a deploy end with the daemon, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1
# Looked up now: between fork and exec nothing may be loaded.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def end_with(parent: int) -> None:
    """Runs in a command before its program: have the kernel kill it when `parent`, our process, is gone."""
    if _PRCTL is None:
        return
    _PRCTL(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it went before the kernel knew
        os._exit(1)
