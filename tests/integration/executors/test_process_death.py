"""Deaths of a long-running process: who is charged, who is not, and what becomes of the worker."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from integration.executors.stage import Mark, Recorder, Stage, alive, freeze, make_task

from runqy_worker.domain.outcome import Completed, Failed, Outcome, Released
from runqy_worker.domain.ports import ExecutorState

if TYPE_CHECKING:
    from runqy_worker.domain.task import Task


@pytest.mark.parametrize(
    ("do", "payload", "error"),
    [
        ("exit", {"code": 3, "text": "boom\n"}, "process died (exit code 3): boom"),
        ("kill", {}, "process died (signal SIGKILL (maybe out of memory))"),
        ("exit", {"code": 0}, "process exited without being asked (exit code 0)"),
    ],
)
async def test_death_with_one_task_is_charged_to_it_and_costs_the_worker_nothing(
    stage: Stage, do: str, payload: dict[str, Any], error: str
) -> None:
    executor, recorder = await stage.actor(recovery={"max_restarts": 1, "initial_delay": 60, "max_delay": 60})
    for _ in range(4):
        await recorder.until(lambda: executor.room() == 1)
        executor.run(task := make_task(do, **payload))
        failure = await recorder.failure(task)
        assert failure == Failed(error, retryable=True, death=True)
    await recorder.until(lambda: executor.room() == 1)
    assert executor.health().crashes == 4
    assert executor.health().restarts == 0
    assert executor.health().last_crash == error


async def test_poison_among_eight_is_found_and_charged_alone(stage: Stage, log: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=8)
    tasks = [make_task(value=number, log=str(log)) for number in range(7)]
    poison = make_task("exit", code=9, log=str(log))
    tasks.insert(2, poison)
    for task in tasks:
        executor.run(task)
    await recorder.until(lambda: len(recorder.outcomes) == 8)
    assert (await recorder.failure(poison)).death
    assert [await recorder.result(task) for task in tasks if task is not poison] == list(range(7))
    ran = log.words()
    assert ran.count(poison.id) == 2, "once among others, once alone"
    assert executor.health().crashes == 2
    assert executor.health().restarts == 0, "both deaths turned out to be the task's doing"
    await recorder.until(lambda: executor.room() == 8)


async def test_poison_in_a_parallel_child_is_found_while_neighbours_pass(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=4, threads=True)
    waiting = [make_task("wait", file=str(flag)) for _ in range(3)]
    for task in waiting:
        executor.run(task)
    executor.run(poison := make_task("exit", code=9))
    await recorder.until(lambda: executor.health().crashes == 1)
    assert executor.room() == 0
    flag.put()
    assert (await recorder.failure(poison)).death
    for task in waiting:
        assert await recorder.result(task) == "waited"


async def test_two_poisons_are_both_found(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=4)
    tasks = [make_task("exit", code=1), make_task(value=1), make_task("exit", code=1), make_task(value=2)]
    for task in tasks:
        executor.run(task)
    await recorder.until(lambda: len(recorder.outcomes) == 4)
    assert [isinstance(await recorder.outcome(task), Completed) for task in tasks] == [False, True, False, True]


async def test_suspects_are_run_before_anything_else_with_no_neighbour(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=4, threads=True)
    suspect, poison = make_task("wait", file=str(flag)), make_task("exit", code=1)
    executor.run(suspect)
    executor.run(poison)
    await recorder.until(lambda: executor.health().crashes == 1)
    await recorder.until(lambda: executor.health().state is ExecutorState.READY)
    assert suspect.alone
    assert executor.room() == 0
    executor.cancel(poison.id)
    assert (await recorder.failure(poison)).error == "cancelled"
    flag.put()
    assert await recorder.result(suspect) == "waited"
    await recorder.until(lambda: executor.room() == 4)


async def test_task_marked_alone_waits_for_its_neighbours_and_has_none(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=4, threads=True)
    executor.run(before := make_task("wait", file=str(flag)))
    alone = make_task(value="alone")
    alone.alone = True
    executor.run(alone)
    assert executor.room() == 0
    flag.put()
    assert await recorder.result(before) == "waited"
    assert await recorder.result(alone) == "alone"
    assert [task.id for task, _ in recorder.outcomes] == [before.id, alone.id]
    await recorder.until(lambda: executor.room() == 4)


async def test_death_between_tasks_counts_and_charges_nobody(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    (pid,) = executor.health().pids
    os.kill(pid, signal.SIGKILL)
    await recorder.until(lambda: executor.health().crashes == 1)
    assert executor.health().restarts == 1
    await recorder.until(lambda: executor.room() == 1)
    assert executor.health().pids != (pid,)


async def test_line_that_a_dead_child_never_read_is_given_back_uncharged(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    (pid,) = executor.health().pids
    await freeze(pid)
    executor.run(task := make_task())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(outcome := await recorder.outcome(task), Released)
    assert not outcome.begun


async def test_series_of_crashes_ends_degraded_and_everything_is_given_back(stage: Stage, log: Mark) -> None:
    executor, recorder = await stage.actor(die_after=0.01, starts=str(log), recovery={"max_restarts": 3})
    await recorder.until(lambda: executor.health().state is ExecutorState.DEGRADED)
    assert len(log.words()) == 4, "the first start and three restarts"
    assert executor.room() == 0
    assert recorder.rooms[-1] == 0
    (notice,) = [notice for notice in recorder.notices if notice.action == "executor_degraded"]
    assert notice.level.name == "ERROR"
    assert "exit code 7" in notice.message
    executor.run(task := make_task())
    assert await recorder.outcome(task) == Released(reason="the task code's process is not ready")


async def test_without_recovery_the_first_uncharged_crash_degrades(stage: Stage) -> None:
    executor, recorder = await stage.actor(recovery={"enabled": False}, concurrency=2)
    executor.run(poison := make_task("exit", code=1))
    assert (await recorder.failure(poison)).death
    await recorder.until(lambda: executor.room() == 2)
    tasks = [make_task("exit", code=1), make_task()]
    for task in tasks:
        executor.run(task)
    await recorder.until(lambda: executor.health().state is ExecutorState.DEGRADED)
    for task in tasks:
        outcome = await recorder.outcome(task)
        assert isinstance(outcome, Released)
        assert outcome.begun


async def test_failing_restarts_count(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(fail_if=str(flag), recovery={"max_restarts": 2})
    flag.put()
    os.kill(executor.health().pids[0], signal.SIGKILL)
    await recorder.until(lambda: executor.health().state is ExecutorState.DEGRADED)
    assert executor.health().crashes == 3
    assert "told to fail" in executor.health().last_crash


async def test_nothing_is_taken_while_recovering(stage: Stage) -> None:
    executor, recorder = await stage.actor(recovery={"initial_delay": 60, "max_delay": 60})
    os.kill(executor.health().pids[0], signal.SIGKILL)
    await recorder.until(lambda: executor.health().state is ExecutorState.RECOVERING)
    assert executor.room() == 0
    executor.run(task := make_task())
    assert isinstance(await recorder.outcome(task), Released)


@pytest.mark.parametrize("do", ["close stdout", "close stdin"])
async def test_child_that_closes_its_pipes_is_replaced(stage: Stage, do: str) -> None:
    executor, recorder = await stage.actor()
    (pid,) = executor.health().pids
    executor.run(task := make_task(do))
    if do == "close stdout":
        assert await recorder.failure(task) == Failed("process closed its stdout", retryable=True, death=True)
    else:
        await recorder.outcome(task)
        executor.run(unread := make_task())
        assert await recorder.outcome(unread) == Released(reason="process closed its stdin")
    await recorder.until(lambda: executor.room() == 1)
    assert not alive(pid)


@pytest.mark.parametrize("hold", [True, False])
async def test_what_a_dead_child_started_does_not_delay_and_does_not_survive(stage: Stage, hold: bool) -> None:
    executor, recorder = await stage.actor()
    executor.run(task := make_task("grandchild", hold=hold))
    grandchild = await recorder.result(task)
    assert alive(grandchild)
    executor.run(end := make_task("exit", code=1))
    assert (await recorder.failure(end)).death
    await recorder.until(lambda: executor.room() == 1)
    await recorder.until(lambda: not alive(grandchild))


async def test_stop_kills_the_whole_group_of_a_child_that_ignores_sigterm(stage: Stage, flag: Mark, log: Mark) -> None:
    executor, recorder = await stage.actor(ignore_term=True, concurrency=2)
    (pid,) = executor.health().pids
    executor.run(first := make_task("grandchild", hold=True))
    grandchild = await recorder.result(first)
    executor.run(running := make_task("wait", file=str(flag), log=str(log)))
    executor.run(behind := make_task())
    await recorder.until(log.words)
    await executor.stop(0.1)
    assert not alive(pid)
    assert not alive(grandchild)
    assert await recorder.outcome(running) == Released(begun=True, reason="the worker stops")
    assert await recorder.outcome(behind) == Released(begun=False, reason="the worker stops")


async def test_fifty_restarts_leave_no_descriptors_and_no_zombies(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    me = psutil.Process()

    async def die() -> None:
        await recorder.until(lambda: executor.room() == 1)
        executor.run(task := make_task("exit", code=1))
        await recorder.failure(task)

    await die()
    await recorder.until(lambda: executor.room() == 1)
    before = me.num_fds()
    for _ in range(50):
        await die()
    await recorder.until(lambda: executor.room() == 1)
    await recorder.until(lambda: me.num_fds() <= before)
    zombies = [child for child in me.children() if child.status() == psutil.STATUS_ZOMBIE]
    assert zombies == []


async def test_engine_may_hand_over_the_next_task_from_inside_finished(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    left = [make_task(value=number) for number in range(100)]

    def next_one(_task: Task, _outcome: Outcome) -> None:
        assert executor.room() == 1
        if left:
            executor.run(left.pop())

    recorder.on_finished = next_one
    executor.run(make_task())
    await recorder.until(lambda: len(recorder.outcomes) == 101)


async def test_fault_in_the_engine_loses_no_other_answer(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=3)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context["exception"]))

    def stumble(task: Task, _outcome: Outcome) -> None:
        if task is tasks[0]:
            raise RuntimeError

    recorder.on_finished = stumble
    text = "".join(f'{{"task_id": "{name}", "result": 1}}\n' for name in "abc")
    tasks = [make_task("raw", task_id="a", text=text), make_task("raw", task_id="b", text="")]
    tasks.append(make_task("raw", task_id="c", text=""))
    for task in tasks:
        executor.run(task)
    await recorder.until(lambda: len(recorder.outcomes) == 3)
    assert [type(fault) for fault in faults] == [RuntimeError]


async def test_equal_ids_from_two_queues_are_kept_apart(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=3, threads=True)
    first, second = make_task(task_id="same", value=1), make_task(task_id="same", value=2)
    second.queue = "q.other"
    executor.run(first)
    executor.run(second)
    assert executor.room() == 1
    assert await recorder.result(first) == 1
    assert await recorder.result(second) == 2


def both_recorders_agree(recorder: Recorder, tasks: list[Task]) -> bool:
    return {task.id for task, _ in recorder.outcomes} == {task.id for task in tasks}


@pytest.mark.parametrize("parallel", [False, True])
async def test_each_of_many_tasks_is_reported_exactly_once(stage: Stage, parallel: bool) -> None:
    executor, recorder = await stage.actor(concurrency=16, threads=parallel)
    tasks = [make_task(value=number) for number in range(3000)]
    left = list(reversed(tasks))

    def feed(*_: object) -> None:
        while left and executor.room():
            executor.run(left.pop())

    recorder.on_finished = feed
    feed()
    await recorder.until(lambda: len(recorder.outcomes) >= 3000)
    assert both_recorders_agree(recorder, tasks)
    assert len(recorder.outcomes) == 3000
