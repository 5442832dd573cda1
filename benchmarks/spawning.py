"""The reference for one-shot tasks: bare spawns of the same command, and nothing around them."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINE = b'{"task_id":"a","payload":{"n":1}}\n'


def spawn_rate(command: Sequence[str], count: int, at_once: int) -> float:
    """Processes per second: each is given its line at once, and when any ends, the next is started."""
    running: dict[int, subprocess.Popen[bytes]] = {}
    ends = select.poll()
    started = 0
    began = time.perf_counter()
    while started < count or running:
        while started < count and len(running) < at_once:
            process = _spawn(command)
            started += 1
            end = os.pidfd_open(process.pid)
            running[end] = process
            ends.register(end, select.POLLIN)
        for end, _ in ends.poll():
            ends.unregister(end)
            os.close(end)
            _finish(running.pop(end))
    return count / (time.perf_counter() - began)


def _spawn(command: Sequence[str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(_LINE)
    process.stdin.close()
    return process


def _finish(process: subprocess.Popen[bytes]) -> None:
    process.stdin = None  # closed already
    answer, _ = process.communicate()
    if process.returncode or b'"a"' not in answer:
        raise RuntimeError(f"a bare spawn ended with {process.returncode} and said {answer!r}")
