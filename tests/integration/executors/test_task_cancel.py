"""Cancelling and abandoning: told at once, harmless to others, the slot taken until the work has really ended."""

from __future__ import annotations

import asyncio

import pytest
from integration.executors.stage import Mark, Stage, alive, make_task

from runqy_worker.domain.launch import Mode
from runqy_worker.domain.outcome import Failed, Outcome, Released

outcomes = pytest.mark.parametrize(
    ("kind", "outcome"),
    [("archive", Failed("cancelled", retryable=False)), ("retry", Failed("context canceled", retryable=True))],
)


@outcomes
async def test_running_task_is_told_at_once_and_its_answer_is_dropped(
    stage: Stage, flag: Mark, kind: str, outcome: Outcome
) -> None:
    executor, recorder = await stage.actor(process={"cancel_outcome": kind, "cancel_grace": 20})
    (pid,) = executor.health().pids
    executor.run(task := make_task("wait", file=str(flag)))
    assert executor.cancel(task.id)
    assert recorder.outcomes == [(task, outcome)]
    assert not executor.cancel(task.id)
    assert executor.room() == 0, "the process is still at it"
    flag.put()
    await recorder.until(lambda: executor.room() == 1)
    assert recorder.rooms[-1] == 1, "the engine was told of the room"
    assert len(recorder.outcomes) == 1
    assert executor.health().pids == (pid,)


async def test_task_that_goes_on_after_the_grace_costs_its_process(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=2, process={"cancel_grace": 0.1})
    (pid,) = executor.health().pids
    executor.run(task := make_task("sleep", seconds=60))
    executor.run(behind := make_task())
    assert executor.cancel(task.id)
    outcome = await recorder.outcome(behind)
    assert isinstance(outcome, Released)
    assert not outcome.begun
    await recorder.until(lambda: executor.room() == 2)
    assert not alive(pid)
    assert executor.health().crashes == 0
    assert "child_ended" in recorder.actions()


async def test_line_that_is_still_in_the_pipe_gets_no_grace_clock_before_it_begins(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=2, process={"cancel_grace": 0.1})
    (pid,) = executor.health().pids
    executor.run(first := make_task("wait", file=str(flag)))
    executor.run(second := make_task())
    assert executor.cancel(second.id)
    assert (await recorder.failure(second)).error == "cancelled"
    assert executor.room() == 0, "its line is still in the pipe"
    await asyncio.sleep(0.2)
    assert alive(pid), "the grace of a task that has not begun does not run"
    flag.put()
    assert await recorder.result(first) == "waited"
    await recorder.until(lambda: executor.room() == 2)
    assert executor.health().pids == (pid,)


async def test_neighbours_in_a_parallel_child_are_given_time(stage: Stage, flag: Mark) -> None:
    grace = {"cancel_grace": 0.1, "timeout_grace": 20}
    executor, recorder = await stage.actor(concurrency=3, threads=True, process=grace)
    (pid,) = executor.health().pids
    executor.run(task := make_task("sleep", seconds=60))
    executor.run(neighbour := make_task("wait", file=str(flag)))
    executor.cancel(task.id)
    await recorder.until(lambda: executor.room() == 0)
    assert alive(pid)
    flag.put()
    assert await recorder.result(neighbour) == "waited"
    await recorder.until(lambda: executor.room() == 3)
    assert not alive(pid)


async def test_unknown_tasks_can_not_be_cancelled(stage: Stage) -> None:
    for mode in Mode:
        executor, _ = await stage.actor(mode=mode)
        assert not executor.cancel("nobody")


async def test_abandoned_task_reports_nothing_and_its_slot_comes_back(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(process={"cancel_grace": 20})
    (pid,) = executor.health().pids
    executor.run(task := make_task("wait", file=str(flag)))
    executor.abandon(task)
    assert executor.room() == 0
    flag.put()
    await recorder.until(lambda: executor.room() == 1)
    assert recorder.outcomes == []
    assert executor.health().pids == (pid,)


async def test_abandoned_task_is_ended_after_the_grace_if_that_harms_no_other(stage: Stage) -> None:
    executor, recorder = await stage.actor(process={"cancel_grace": 0.1})
    (pid,) = executor.health().pids
    executor.run(task := make_task("sleep", seconds=60))
    executor.abandon(task)
    await recorder.until(lambda: executor.room() == 1)
    assert not alive(pid)
    assert recorder.outcomes == []


async def test_abandoned_task_is_left_alone_while_neighbours_work(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=2, threads=True, process={"cancel_grace": 0.02})
    (pid,) = executor.health().pids
    executor.run(task := make_task("sleep", seconds=0.3))
    executor.run(neighbour := make_task("wait", file=str(flag)))
    executor.abandon(task)
    await recorder.until(lambda: executor.room() == 1)
    flag.put()
    assert await recorder.result(neighbour) == "waited"
    assert executor.health().pids == (pid,)


async def test_same_task_claimed_again_is_not_mistaken_for_its_abandoned_self(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=2, process={"cancel_grace": 20})
    before = make_task("wait", file=str(flag), task_id="same")
    executor.run(before)
    executor.abandon(before)
    executor.run(again := make_task(value="second run", task_id="same"))
    flag.put()
    assert await recorder.result(again) == "second run"
    assert [task for task, _ in recorder.outcomes] == [again]


@outcomes
async def test_one_shot_process_is_ended_at_once(stage: Stage, kind: str, outcome: Outcome) -> None:
    executor, recorder = await stage.actor(mode=Mode.ONE_SHOT, process={"cancel_outcome": kind, "cancel_grace": 60})
    executor.run(task := make_task("sleep", seconds=60))
    assert executor.cancel(task.id)
    assert await recorder.outcome(task) == outcome
    await recorder.until(lambda: executor.room() == 1)
    assert executor.health().crashes == 0


async def test_one_shot_abandon_ends_the_process_and_reports_nothing(stage: Stage) -> None:
    executor, recorder = await stage.actor(mode=Mode.ONE_SHOT)
    executor.run(task := make_task("sleep", seconds=60))
    executor.abandon(task)
    await recorder.until(lambda: executor.room() == 1)
    assert recorder.outcomes == []
