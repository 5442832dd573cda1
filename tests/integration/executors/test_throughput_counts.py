"""The hot path handles lines in bulk: counted in turns and calls, never timed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from integration.executors.stage import Stage, make_task

from runqy_worker.executors import stdin

if TYPE_CHECKING:
    import pytest

    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.task import Task


class CountingOs:
    """The module `os`, with its writes counted."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, fd: int, data: bytes) -> int:
        self.writes += 1
        return os.write(fd, data)

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


async def test_tasks_of_one_turn_go_out_in_one_write(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = CountingOs()
    monkeypatch.setattr(stdin, "os", counting)
    executor, recorder = await stage.actor(concurrency=100)
    for number in range(100):
        executor.run(make_task(value=number))
    assert counting.writes == 0
    await recorder.until(lambda: len(recorder.outcomes) == 100)
    assert counting.writes == 1


async def test_twenty_thousand_tasks_pass_with_the_next_handed_over_from_inside_finished(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=64)
    count = 20_000
    left = count

    def feed(_task: Task | None = None, _outcome: Outcome | None = None) -> None:
        nonlocal left
        while left and executor.room():
            left -= 1
            executor.run(make_task(timeout=1800))

    recorder.on_finished = feed
    feed()
    await recorder.until(lambda: len(recorder.outcomes) == count, within=60)
    assert len({task.id for task, _ in recorder.outcomes}) == count
    assert executor.room() == 64
