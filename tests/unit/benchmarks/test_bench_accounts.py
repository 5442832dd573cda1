"""CPU and memory are those of the processes that are named."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmarks import cpu, memory

BUSY = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.1: pass"]


def test_cpu_time_is_counted_while_a_process_works_and_not_while_it_sleeps() -> None:
    before = cpu.spent(os.getpid())
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    worked = cpu.spent(os.getpid()) - before
    assert worked > 0.04
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        assert cpu.spent(sleeper.pid) < 0.05
        sleeper.kill()
    assert cpu.spent(sleeper.pid) == 0


def test_children_that_have_ended_are_counted_as_ours() -> None:
    before = cpu.spent_here()
    subprocess.run(BUSY, check=True)
    assert cpu.spent_here() - before > 0.09


def test_what_others_take_is_a_share() -> None:
    others = cpu.Others()
    subprocess.run(BUSY, check=True)
    assert 0 <= others.share() <= 1


def test_memory_of_a_process_is_found() -> None:
    assert 5 < cpu.proportional(os.getpid()) <= cpu.resident(os.getpid())
    assert cpu.available() > 0


def test_imports_are_weighed_in_fresh_interpreters() -> None:
    assert memory.imported(["json", "asyncio"]) > memory.imported([])
    with pytest.raises(subprocess.CalledProcessError):
        memory.imported(["no_such_module"])
