"""Ties a child's life to the daemon's, and makes it the first to go when memory runs out."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_OOM_STEP = 300
_OOM_MOST = 1000
# Looked up at import: between fork and exec nothing may be loaded.
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def die_with_parent() -> Callable[[], None] | None:
    """What a child runs before exec so that the kernel kills it when this process dies; None where that can't be had.

    The signal comes when the *thread* that started the child ends, so children must be started by the thread that runs
    the event loop.
    """
    if _prctl is None:
        return None
    prctl, parent, kill = _prctl, os.getpid(), int(signal.SIGKILL)

    def guard() -> None:
        prctl(_PR_SET_PDEATHSIG, kill, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return guard


def prefer_as_oom_victim(pid: int) -> None:
    """Let the kernel pick the child before the daemon. Only a preference: where it can't be set, nothing is lost."""
    try:
        own = int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii"))
        wanted = min(own + _OOM_STEP, _OOM_MOST)
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(wanted), encoding="ascii")
    except (OSError, ValueError):
        return
