"""A fresh process per task, started ahead, used once, never too many of them."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from integration.executors.stage import Mark, Recorder, Stage, actor_launch, alive, freeze, make_task

from runqy_worker.domain.launch import Mode
from runqy_worker.domain.outcome import Completed, Outcome, Released
from runqy_worker.domain.ports import ExecutorState
from runqy_worker.executors import one_shot, standby
from runqy_worker.executors.one_shot import OneShotExecutor

if TYPE_CHECKING:
    from runqy_worker.domain.task import Task
    from runqy_worker.executors.factory import SwitchableExecutor


async def run_all(executor: SwitchableExecutor, recorder: Recorder, tasks: list[Task]) -> int:
    """Run the tasks as room allows; returns the most processes seen at once."""
    left = list(reversed(tasks))
    most = 0

    def feed(*_: object) -> None:
        nonlocal most
        most = max(most, len(executor.health().pids))
        while left and executor.room():
            executor.run(left.pop())

    recorder.on_finished = feed
    feed()
    await recorder.until(lambda: len(recorder.outcomes) == len(tasks))
    return most


@pytest.mark.parametrize(("concurrency", "standby"), [(1, "auto"), (1, "0"), (3, "auto"), (3, "3"), (3, "0")])
async def test_each_task_meets_a_process_of_its_own_and_there_are_never_too_many(
    stage: Stage, concurrency: int, standby: str
) -> None:
    executor, recorder = await stage.one_shot(once=True, concurrency=concurrency, process={"standby": standby})
    tasks = [make_task("pid") for _ in range(15)]
    most = await run_all(executor, recorder, tasks)
    pids = [await recorder.result(task) for task in tasks]
    assert len(set(pids)) == 15
    assert most <= concurrency + (1 if standby == "auto" else int(standby))
    assert executor.health().crashes == 0


async def test_standby_is_ready_before_the_task_and_used_for_it(stage: Stage, log: Mark) -> None:
    executor, recorder = await stage.one_shot(starts=str(log))
    (waiting,) = executor.health().pids
    executor.run(task := make_task("pid"))
    assert await recorder.result(task) == waiting
    await recorder.until(lambda: not alive(waiting))
    await recorder.until(lambda: len(log.words()) == 2)


@pytest.mark.parametrize(("env", "count"), [({}, 1), ({"CUDA_VISIBLE_DEVICES": "0"}, 0)])
async def test_automatic_standby_is_none_on_a_gpu(stage: Stage, env: dict[str, str], count: int) -> None:
    executor, recorder = await stage.one_shot(env=env)
    assert len(executor.health().pids) == count
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1


async def test_automatic_standby_is_none_when_memory_is_short(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "memory_is_short", lambda: True)
    executor, _ = await stage.one_shot()
    assert executor.health().pids == ()


async def test_standby_is_replaced_at_its_age(stage: Stage) -> None:
    executor, recorder = await stage.one_shot(process={"standby_max_age": 0.1})
    (first,) = executor.health().pids
    await recorder.until(lambda: executor.health().pids and first not in executor.health().pids)
    assert executor.health().crashes == 0
    assert executor.health().state is ExecutorState.READY


async def test_idle_death_of_a_standby_is_nobodys_failure(stage: Stage) -> None:
    executor, recorder = await stage.one_shot()
    (pid,) = executor.health().pids
    os.kill(pid, signal.SIGKILL)
    await recorder.until(lambda: executor.health().pids and pid not in executor.health().pids)
    assert executor.health().state is ExecutorState.READY
    assert executor.health().crashes == 0
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1


async def test_task_handed_to_a_standby_that_just_died_is_given_back_uncharged(stage: Stage) -> None:
    executor, recorder = await stage.one_shot()
    (pid,) = executor.health().pids
    await freeze(pid)
    executor.run(task := make_task())
    os.kill(pid, signal.SIGKILL)
    outcome = await recorder.outcome(task)
    assert isinstance(outcome, Released)
    assert not outcome.begun


async def test_standbys_that_keep_dying_end_degraded(stage: Stage, log: Mark) -> None:
    executor, recorder = stage.make(
        actor_launch(stage.directory, mode=Mode.ONE_SHOT, die_after=0.05, starts=str(log)),
        recovery={"max_restarts": 3},
    )
    await executor.start()
    await recorder.until(lambda: executor.health().state is ExecutorState.DEGRADED)
    assert len(log.words()) <= 6
    assert executor.room() == 0


async def test_failing_starts_back_off_and_heal(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.one_shot(
        fail_if=str(flag), process={"standby": "0"}, recovery={"max_restarts": 1000}
    )
    flag.put()
    executor.run(task := make_task())
    outcome = await recorder.outcome(task)
    assert isinstance(outcome, Released)
    assert executor.health().state is ExecutorState.RECOVERING
    assert executor.room() == 0
    flag.remove()
    await recorder.until(lambda: executor.room() == 1)
    executor.run(after := make_task(value=1))
    assert await recorder.result(after) == 1


async def test_failing_starts_end_degraded(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.one_shot(fail_if=str(flag), recovery={"max_restarts": 2})
    flag.put()
    os.kill(executor.health().pids[0], signal.SIGKILL)
    await recorder.until(lambda: executor.health().state is ExecutorState.DEGRADED)
    assert "told to fail" in executor.health().last_crash
    assert "executor_degraded" in recorder.actions()


@pytest.mark.parametrize(("do", "words"), [("exit", "exit code 4"), ("kill", "SIGKILL"), ("close stdout", "stdout")])
async def test_death_with_a_task_is_charged_to_it_and_harms_no_other(stage: Stage, do: str, words: str) -> None:
    executor, recorder = await stage.one_shot(concurrency=2)
    executor.run(dying := make_task(do, code=4))
    executor.run(other := make_task("sleep", seconds=0.1))
    failure = await recorder.failure(dying)
    assert words in failure.error
    assert failure.death
    assert await recorder.result(other) == "slept"
    assert executor.health().restarts == 0


async def test_answer_counts_even_if_the_process_dies_of_something_else_afterwards(stage: Stage) -> None:
    executor, recorder = await stage.one_shot()
    executor.run(task := make_task("raw", text='before\n{"task_id": "ID", "result": 1}'))  # never a line break
    await recorder.until(lambda: recorder.output)
    for pid in executor.health().pids:
        os.kill(pid, signal.SIGTERM)
    assert isinstance(await recorder.outcome(task), Completed)


async def test_process_that_lingers_after_its_answer_is_ended(stage: Stage) -> None:
    executor, recorder = await stage.one_shot(once=True, linger=60, ignore_term=True, process={"stop_grace": 0.1})
    executor.run(task := make_task("pid"))
    pid = await recorder.result(task)
    assert executor.room() == 1
    await recorder.until(lambda: not alive(pid))


async def test_stop_gives_back_what_runs_and_what_waits(stage: Stage) -> None:
    executor, recorder = await stage.one_shot(concurrency=2, process={"standby": "1"})
    executor.run(running := make_task("sleep", seconds=60))
    executor.run(waiting := make_task("sleep", seconds=60))
    await executor.stop(1)
    for task, begun in ((running, True), (waiting, False)):
        outcome = await recorder.outcome(task)
        assert isinstance(outcome, Released)
        assert outcome.begun is begun


async def test_no_zombies_and_no_descriptors_are_left(stage: Stage) -> None:
    executor, recorder = await stage.one_shot(once=True, concurrency=2)
    me = psutil.Process()
    await run_all(executor, recorder, [make_task() for _ in range(3)])
    await recorder.until(lambda: len(executor.health().pids) == 1)
    before = me.num_fds() + 1  # the file in memory that says what to start
    recorder.outcomes.clear()
    await run_all(executor, recorder, [make_task() for _ in range(30)])
    await recorder.until(lambda: len(executor.health().pids) == 1)
    await recorder.until(lambda: me.num_fds() <= before)
    assert [child for child in me.children() if child.status() == psutil.STATUS_ZOMBIE] == []


async def test_engine_may_hand_over_the_next_task_from_inside_finished(stage: Stage) -> None:
    executor, recorder = await stage.one_shot(once=True)

    def again(task: Task, _outcome: Outcome) -> None:
        assert executor.room() == 1
        if task.id != "second":
            executor.run(make_task(task_id="second"))

    recorder.on_finished = again
    executor.run(make_task())
    await recorder.until(lambda: len(recorder.outcomes) == 2)


async def test_outcome_is_told_before_the_next_process_is_started(
    stage: Stage, log: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, recorder = await stage.one_shot(once=True, starts=str(log))
    monkeypatch.setattr(one_shot, "AHEAD_PAUSE", 0.3)
    started: list[int] = []
    recorder.on_finished = lambda _task, _outcome: started.append(len(log.words()))
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1
    assert started == [1]
    await recorder.until(lambda: len(log.words()) == 2)


async def test_task_that_waits_has_its_process_started_at_once(
    stage: Stage, flag: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor, recorder = await stage.one_shot(once=True, concurrency=2)
    monkeypatch.setattr(one_shot, "AHEAD_PAUSE", 3600)
    executor.run(first := make_task("wait", file=str(flag)))
    executor.run(second := make_task(value=2))
    assert await recorder.result(second) == 2
    flag.put()
    assert await recorder.result(first) == "waited"


async def test_next_process_is_started_while_a_task_takes_its_time(stage: Stage, flag: Mark, log: Mark) -> None:
    executor, recorder = await stage.one_shot(once=True, starts=str(log))
    executor.run(task := make_task("wait", file=str(flag)))
    await recorder.until(lambda: len(log.words()) == 2)
    flag.put()
    assert await recorder.result(task) == "waited"


async def test_processes_ahead_do_not_slow_down_those_that_tasks_wait_for(
    stage: Stage, flag: Mark, log: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_shot, "usable_cores", lambda: 2)
    executor, recorder = await stage.one_shot(
        once=True, starts=str(log), hold_if=str(flag), concurrency=2, process={"standby": "2"}
    )
    assert isinstance(executor, OneShotExecutor)
    await recorder.until(lambda: len(executor._standby) == 2)
    flag.put()
    left = [make_task(value=number) for number in range(4)]
    recorder.on_finished = lambda _task, _outcome: executor.run(left.pop()) if left else None
    executor.run(left.pop())
    executor.run(left.pop())
    await recorder.until(lambda: len(recorder.outcomes) == 2 and len(log.words()) == 4)
    executor._fill_up()
    assert len(executor._starting) == 2
    flag.remove()
    await recorder.until(lambda: len(recorder.outcomes) == 4)
