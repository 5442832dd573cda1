"""Process groups: signalling them, and telling whether anything in them still runs."""

from __future__ import annotations

import os
from pathlib import Path

_PROC = Path("/proc")


def signal_group(pgid: int, number: int) -> bool:
    """Signal every process of the group; whether there was one."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def group_lives(pgid: int) -> bool:
    """Whether a process of the group runs. The remains of one that its parent has not looked at don't count."""
    if not signal_group(pgid, 0):
        return False
    try:
        pids = [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208 - names only, and quick
    except OSError:
        return True
    return any(_pgid_of(pid) == pgid and start_time(pid) is not None for pid in pids)


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the process's start; None when there is no such process, or only its remains."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - asked for each process, so quick
            stat = file.read()
    except OSError:
        return None
    # Behind the command's name, which may hold anything: state, parent, group, ... and as the 20th field the start.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _pgid_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
