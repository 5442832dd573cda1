"""Replacing a long-running process in time, without a gap and without charging anyone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from integration.executors.stage import Mark, Stage, alive, make_task

from runqy_worker.domain.ports import ExecutorState
from runqy_worker.executors import recycling

if TYPE_CHECKING:
    import pytest

    from runqy_worker.executors.factory import SwitchableExecutor


def replaced(executor: SwitchableExecutor, pid: int) -> bool:
    pids = executor.health().pids
    return bool(pids) and pid not in pids


async def test_after_so_many_tasks_a_fresh_process_takes_over(stage: Stage) -> None:
    executor, recorder = await stage.actor(process={"max_tasks": 20})
    for _ in range(3):
        (pid,) = executor.health().pids
        for number in range(22):
            executor.run(task := make_task("pid"))
            assert await recorder.result(task) == pid or number >= 18, "not before the limit, less a tenth"
        await recorder.until(partial(replaced, executor, pid))
    assert executor.health().crashes == 0
    assert executor.health().restarts == 0
    assert "child_recycled" in recorder.actions()


async def test_running_tasks_of_a_worn_process_come_to_their_end(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=2, threads=True, process={"max_tasks": 1})
    executor.run(long := make_task("wait", file=str(flag)))
    executor.run(short := make_task("pid"))
    pid = await recorder.result(short)
    await recorder.until(lambda: executor.room() == 2)
    executor.run(next_one := make_task("pid"))
    assert await recorder.result(next_one) != pid
    assert alive(pid)
    flag.put()
    assert await recorder.result(long) == "waited"
    await recorder.until(lambda: not alive(pid))


async def test_memory_and_age_are_limits_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycling, "CHECK_EVERY", 0.02)
    big, recorder = await stage.actor(process={"max_rss": 100 * 1024 * 1024})
    (pid,) = big.health().pids
    big.run(task := make_task("grow", size=150 * 1024 * 1024))
    await recorder.outcome(task)
    await recorder.until(lambda: not alive(pid))
    assert any("process.max_rss" in notice.message for notice in recorder.notices)
    old, recorder = await stage.actor(process={"max_age": 0.2})
    (pid,) = old.health().pids
    await recorder.until(lambda: not alive(pid))
    assert any("process.max_age" in notice.message for notice in recorder.notices)
    assert old.health().state is ExecutorState.READY


async def test_old_process_serves_on_when_the_fresh_one_does_not_start(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(fail_if=str(flag), process={"max_tasks": 1})
    flag.put()
    executor.run(first := make_task("pid"))
    pid = await recorder.result(first)
    await recorder.until(lambda: "recycle_failed" in recorder.actions())
    executor.run(second := make_task("pid"))
    assert await recorder.result(second) == pid


async def test_on_a_gpu_the_old_process_ends_before_the_fresh_one_starts(stage: Stage, log: Mark) -> None:
    env = {"CUDA_VISIBLE_DEVICES": "0"}
    executor, recorder = await stage.actor(env=env, process={"max_tasks": 1}, starts=str(log))
    executor.run(first := make_task("pid"))
    pid = await recorder.result(first)
    await recorder.until(lambda: len(log.words()) == 2)
    assert not alive(pid)
    await recorder.until(lambda: executor.room() == 1)
