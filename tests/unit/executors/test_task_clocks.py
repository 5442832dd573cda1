"""The clocks of one child's tasks, with a child that only pretends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.outcome import Failed
from runqy_worker.domain.task import Task
from runqy_worker.executors.overtime import NEVER, Overtime

if TYPE_CHECKING:
    from collections.abc import Callable


class PretendedChild:
    """Has tasks, and remembers what is asked of it."""

    def __init__(self, *, serial: bool) -> None:
        self.serial = serial
        self.tasks: list[Task] = []
        self.ended = ""
        self.changes = 0
        self.clock = SystemClock()
        self.overtime = Overtime(self, self.clock, timeout_grace=0.05, cancel_grace=0.05)

    def ticking(self) -> list[Task]:
        return self.tasks[:1] if self.serial else self.tasks

    def closing_changed(self) -> None:
        self.changes += 1

    def end_for(self, why: str) -> None:
        self.ended = why

    def begin(self, name: str, timeout: float = 0, deadline: float = 0) -> Task:
        task = Task(name, "kind", b"", "q", timeout=timeout, deadline=deadline)
        self.tasks.append(task)
        self.overtime.begin(task, self.clock.monotonic())
        return task

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - the pretended child has no event
                await asyncio.sleep(0.005)


async def test_task_without_limits_never_expires_and_costs_no_timer() -> None:
    child = PretendedChild(serial=True)
    task = child.begin("a")
    assert task.expires_at == 0
    assert child.overtime._timer is None


async def test_nearer_of_timeout_and_deadline_counts() -> None:
    child = PretendedChild(serial=False)
    now, unix = child.clock.monotonic(), child.clock.time()
    assert abs(child.begin("a", timeout=50, deadline=unix + 20).expires_at - now - 20) < 1
    assert abs(child.begin("b", timeout=10, deadline=unix + 20).expires_at - now - 10) < 1
    child.overtime.close()


async def test_one_timer_serves_many_tasks_and_is_armed_for_the_earliest() -> None:
    child = PretendedChild(serial=False)
    timers = set()
    for number in range(100):
        child.begin(f"t{number}", timeout=100 + number)
        timers.add(id(child.overtime._timer))
    assert len(timers) == 1
    child.begin("soon", timeout=0.02)
    await child.until(lambda: child.overtime.doomed)
    assert list(child.overtime.doomed) == ["soon"]
    assert child.overtime.blocked
    child.overtime.close()


async def test_answered_task_does_not_expire() -> None:
    child = PretendedChild(serial=False)
    child.begin("a", timeout=0.02)
    child.tasks.clear()
    child.begin("b", timeout=0.04)
    await child.until(lambda: child.overtime.doomed)
    assert list(child.overtime.doomed) == ["b"]
    child.overtime.close()


async def test_serial_child_is_ended_at_once_and_a_parallel_one_after_the_grace() -> None:
    serial, parallel = PretendedChild(serial=True), PretendedChild(serial=False)
    for child in (serial, parallel):
        child.begin("slow", timeout=0.01)
        child.begin("other")
    await serial.until(lambda: serial.ended)
    assert serial.ended == "task slow timeout: ran longer than 0.01s"
    await parallel.until(lambda: parallel.overtime.doomed)
    assert not parallel.ended
    await parallel.until(lambda: parallel.ended)


async def test_verdict_is_for_the_answer_and_then_nothing_blocks() -> None:
    child = PretendedChild(serial=False)
    slow = child.begin("slow", timeout=0.01)
    child.begin("other")
    await child.until(lambda: child.overtime.doomed)
    child.tasks.remove(slow)
    assert child.overtime.answered("slow") == Failed("timeout: ran longer than 0.01s", retryable=True)
    assert not child.overtime.blocked
    child.overtime.after_answers()
    await asyncio.sleep(0.1)
    assert not child.ended
    child.overtime.close()


async def test_cancelled_task_that_has_not_begun_gets_its_grace_when_it_begins() -> None:
    child = PretendedChild(serial=True)
    child.begin("first")
    second = Task("second", "kind", b"", "q")
    child.overtime.doom(second, begun=False)
    assert child.overtime.doomed["second"].end_at == NEVER
    child.tasks[:] = [second]
    child.overtime.begin(second, child.clock.monotonic())
    await child.until(lambda: child.ended)
    assert "second cancelled" in child.ended


async def test_sparing_task_never_ends_a_process_with_neighbours() -> None:
    child = PretendedChild(serial=False)
    abandoned = child.begin("abandoned")
    child.begin("neighbour")
    child.overtime.doom(abandoned, begun=True, sparing=True)
    await asyncio.sleep(0.12)
    assert not child.ended
    assert not child.overtime.blocked
    child.overtime.close()
