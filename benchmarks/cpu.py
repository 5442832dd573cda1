"""CPU time and memory of processes, from the kernel's own accounts."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from pathlib import Path

import psutil

MIB = 2**20


def spent(*pids: int) -> float:
    """Seconds of CPU that these processes used so far, to the nanosecond: the scheduler's own count, all threads."""
    total = 0
    for pid in pids:
        for account in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread ended just now
                total += int(account.read_text().split()[0])
    return total / 1e9


def spent_here() -> float:
    """Seconds of CPU that this process used so far, and those of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


class Others:
    """Looks, from now on, at how much of the CPU goes to what this program did not start; a host's share too."""

    def __init__(self) -> None:
        self._cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        self._began, self._busy, self._ours = time.perf_counter(), self._machine(), _family()

    def share(self) -> float:
        """What others had of the cores that we may use, between 0 and 1."""
        elapsed = time.perf_counter() - self._began
        theirs = (self._machine() - self._busy) - (_family() - self._ours)
        return min(1.0, max(0.0, theirs / elapsed / len(self._cores)))

    def _machine(self) -> float:
        """Seconds for which our cores were busy, or wanted to be while the host gave them to somebody else."""
        ticks = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *columns = line.split()
            if name in self._cores:
                user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, columns[:8])
                ticks += user + nice + system + irq + softirq + steal
        return ticks / os.sysconf("SC_CLK_TCK")


def _family() -> float:
    """Seconds of CPU of this process and all that it started, of the dead too."""
    total = spent_here()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:4])
    return total


def children(pid: int) -> list[int]:
    """Processes that this one started and that live."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def resident(pid: int) -> float:
    """MiB of memory that the process has in RAM (RSS), shared pages included."""
    return float(psutil.Process(pid).memory_info().rss) / MIB


def proportional(pid: int) -> float:
    """MiB in RAM, each shared page divided by the number of processes that share it (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no line `Pss:`")


def available() -> float:
    """MiB of memory that can still be had on this machine."""
    return float(psutil.virtual_memory().available) / MIB
