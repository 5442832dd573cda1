"""Time limits: fair clocks, real ends, no harm to neighbours beyond the grace."""

from __future__ import annotations

import time

from integration.executors.stage import Mark, Stage, actor_launch, alive, make_task

from runqy_worker.domain.launch import Mode
from runqy_worker.domain.outcome import Failed, Released


async def test_serial_child_is_ended_and_lines_it_had_not_begun_are_given_back(stage: Stage, log: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=3)
    (pid,) = executor.health().pids
    slow = make_task("sleep", seconds=60, timeout=0.2)
    behind = [make_task(log=str(log), timeout=0.01), make_task(log=str(log))]
    for task in (slow, *behind):
        executor.run(task)
    assert await recorder.failure(slow) == Failed("timeout: ran longer than 0.2s", retryable=True)
    for task in behind:
        outcome = await recorder.outcome(task)
        assert isinstance(outcome, Released)
        assert not outcome.begun
    assert log.words() == []
    assert not alive(pid), "the outcome is told when the work on it has really ended"
    await recorder.until(lambda: executor.room() == 3)
    assert executor.health().crashes == 0
    assert executor.health().restarts == 0


async def test_no_room_until_the_replacement_is_ready(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(hold_if=str(flag))
    flag.put()
    executor.run(slow := make_task("sleep", seconds=60, timeout=0.1))
    await recorder.failure(slow)
    assert executor.room() == 0
    flag.remove()
    await recorder.until(lambda: executor.room() == 1)


async def test_clock_of_a_task_starts_when_its_predecessor_has_answered(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=5)
    tasks = [make_task("sleep", seconds=0.15, timeout=0.5) for _ in range(5)]
    for task in tasks:
        executor.run(task)
    for task in tasks:
        assert await recorder.result(task) == "slept", "0.75 s in all, but never more than 0.5 s for one"
    expiries = [task.expires_at for task in tasks]
    assert expiries == sorted(expiries)
    assert expiries[-1] - expiries[0] > 0.5


async def test_child_that_ignores_sigterm_is_killed(stage: Stage) -> None:
    executor, recorder = await stage.actor(ignore_term=True, process={"stop_grace": 0.1})
    executor.run(slow := make_task("sleep", seconds=60, timeout=0.1))
    assert "timeout" in (await recorder.failure(slow)).error


async def test_neighbours_in_a_parallel_child_get_the_grace(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=3, threads=True, process={"timeout_grace": 10})
    (pid,) = executor.health().pids
    slow, neighbour = make_task("sleep", seconds=60, timeout=0.1), make_task("wait", file=str(flag))
    executor.run(slow)
    executor.run(neighbour)
    await recorder.until(lambda: executor.room() == 0)
    assert alive(pid)
    flag.put()
    assert await recorder.result(neighbour) == "waited"
    assert "timeout" in (await recorder.failure(slow)).error, "ended as soon as nobody else was left"
    assert not alive(pid)


async def test_neighbours_that_take_longer_than_the_grace_are_given_back_as_begun(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=3, threads=True, process={"timeout_grace": 0.1})
    slow, neighbour = make_task("sleep", seconds=60, timeout=0.1), make_task("sleep", seconds=60)
    executor.run(slow)
    executor.run(neighbour)
    outcome = await recorder.outcome(neighbour)
    assert isinstance(outcome, Released)
    assert outcome.begun
    assert "timeout" in (await recorder.failure(slow)).error
    await recorder.until(lambda: executor.room() == 3)
    assert executor.health().crashes == 0


async def test_answer_within_the_grace_of_neighbours_spares_the_child_but_comes_too_late(
    stage: Stage, flag: Mark
) -> None:
    executor, recorder = await stage.actor(concurrency=2, threads=True, process={"timeout_grace": 20})
    (pid,) = executor.health().pids
    executor.run(late := make_task("wait", file=str(flag), timeout=0.1))
    other_flag = stage.mark("other flag")
    executor.run(neighbour := make_task("wait", file=str(other_flag)))
    recorder.rooms.clear()
    await recorder.until(lambda: recorder.rooms)
    flag.put()
    assert (await recorder.failure(late)).error == "timeout: ran longer than 0.1s"
    await recorder.until(lambda: executor.room() == 1)
    assert executor.health().pids == (pid,)
    other_flag.put()
    assert await recorder.result(neighbour) == "waited"


async def test_absolute_deadline_ends_a_running_task(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    executor.run(task := make_task("sleep", seconds=60, timeout=50, deadline=time.time() + 0.2))
    assert (await recorder.failure(task)).error == "timeout: still running at its deadline"


async def test_deadline_that_passed_in_the_pipe_does_not_cost_the_process(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(concurrency=2, process={"cancel_grace": 20})
    (pid,) = executor.health().pids
    executor.run(first := make_task("wait", file=str(flag)))
    next_flag = stage.mark("next")
    executor.run(second := make_task("wait", file=str(next_flag), deadline=time.time() + 0.05))
    await recorder.until(lambda: time.time() > second.deadline)
    flag.put()
    assert await recorder.result(first) == "waited"
    next_flag.put()
    assert "deadline passed before it could begin" in (await recorder.failure(second)).error
    assert executor.health().pids == (pid,)


async def test_timeouts_of_many_short_tasks_share_one_timer(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=4, threads=True)
    for _ in range(50):
        batch = [make_task("sleep", seconds=0.001, timeout=5) for _ in range(4)]
        for task in batch:
            executor.run(task)
        for task in batch:
            assert await recorder.result(task) == "slept"
    assert executor.health().crashes == 0


async def test_child_without_announcement_that_answers_out_of_turn_gets_clocks_of_its_own(
    stage: Stage, flag: Mark
) -> None:
    launch = actor_launch(stage.directory, threads=True)
    executor, recorder = await stage.start(launch, concurrency=3, process={"timeout_grace": 0.1})
    executor.run(first := make_task("wait", file=str(flag)))
    executor.run(slow := make_task("sleep", seconds=60, timeout=0.3))
    executor.run(quick := make_task(value=1))
    assert await recorder.result(quick) == 1
    assert "timeout" in (await recorder.failure(slow)).error, "although the first one never answered"
    outcome = await recorder.outcome(first)
    assert isinstance(outcome, Released)
    assert outcome.begun


async def test_one_shot_timeout_ends_the_process_and_frees_the_slot_then(stage: Stage) -> None:
    executor, recorder = await stage.actor(mode=Mode.ONE_SHOT)
    executor.run(slow := make_task("sleep", seconds=60, timeout=0.1))
    assert executor.room() == 0
    assert await recorder.failure(slow) == Failed("timeout: ran longer than 0.1s", retryable=True)
    await recorder.until(lambda: executor.room() == 1)
    executor.run(after := make_task(value=1))
    assert await recorder.result(after) == 1
    assert executor.health().crashes == 0
