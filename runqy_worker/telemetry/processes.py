"""What processes and the disk take and have left, as the system tells."""

from __future__ import annotations

import contextlib
import os
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """Of this process: seconds of processor time, bytes, descriptors, Unix seconds."""

    cpu: float
    resident: int
    virtual: int
    open_fds: int
    max_fds: int
    started_at: float


def own_figures() -> OwnFigures:
    """Of this process, now. Takes some tenths of a millisecond."""
    process = psutil.Process()
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return OwnFigures(
            times.user + times.system, memory.rss, memory.vms, process.num_fds(), most, process.create_time()
        )


def resident(pids: Iterable[int]) -> int:
    """Bytes that these processes hold in memory; those that are gone hold none."""
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total


def disk_space(path: Path) -> tuple[int, int] | None:
    """Bytes free for this user, and bytes in all, of the file system of `path`; None where it can't be told."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
