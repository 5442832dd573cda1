"""Another release takes over: overlapping, after the old one, or not at all because it is broken."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from integration.executors.stage import Mark, Stage, actor_launch, alive, make_task

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.launch import Launch, Mode
from runqy_worker.domain.outcome import Released
from runqy_worker.domain.ports import ExecutorState

both_modes = pytest.mark.parametrize("mode", list(Mode))
both_ways = pytest.mark.parametrize("way", ["overlap", "stop_first"])


def broken(stage: Stage, mode: Mode = Mode.LONG_RUNNING) -> Launch:
    return actor_launch(stage.directory, mode=mode, exit=1, stderr="SyntaxError\n")


async def test_overlap_lets_the_old_process_finish_while_the_new_one_works(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor()
    (old,) = executor.health().pids
    executor.run(running := make_task("wait", file=str(flag)))
    await executor.switch(actor_launch(stage.directory, release="two"), mode="overlap", drain=30)
    assert executor.room() == 1
    executor.run(task := make_task("pid"))
    assert await recorder.result(task) != old
    assert alive(old)
    flag.put()
    assert await recorder.result(running) == "waited"
    await recorder.until(lambda: not alive(old))
    assert executor.health().crashes == 0


async def test_old_release_serves_until_the_new_one_is_ready(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor()
    (old,) = executor.health().pids
    flag.put()
    switch = asyncio.create_task(
        executor.switch(actor_launch(stage.directory, hold_if=str(flag)), mode="overlap", drain=30)
    )
    await recorder.until(lambda: len(executor.health().pids) == 2)
    executor.run(task := make_task("pid"))
    assert await recorder.result(task) == old
    flag.remove()
    await switch
    assert executor.health().state is ExecutorState.READY


@both_modes
@both_ways
async def test_tasks_that_outlast_the_drain_are_given_back_as_begun(stage: Stage, mode: Mode, way: str) -> None:
    executor, recorder = await stage.actor(mode=mode)
    executor.run(running := make_task("sleep", seconds=60))
    await executor.switch(actor_launch(stage.directory, mode=mode), mode=way, drain=0.1)
    outcome = await recorder.outcome(running)
    assert isinstance(outcome, Released)
    assert outcome.begun
    await recorder.until(lambda: executor.room() == 1)
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1


@both_modes
async def test_stop_first_never_has_two_releases_at_once(stage: Stage, mode: Mode, log: Mark, flag: Mark) -> None:
    executor, recorder = await stage.actor(mode=mode, process={"standby": "0"} if mode is Mode.ONE_SHOT else None)
    begun = stage.mark("begun")
    executor.run(running := make_task("wait", file=str(flag), log=str(begun)))
    await recorder.until(begun.words)
    (old,) = executor.health().pids
    switch = asyncio.create_task(
        executor.switch(actor_launch(stage.directory, mode=mode, starts=str(log)), mode="stop_first", drain=30)
    )
    await recorder.until(lambda: executor.health().state is ExecutorState.STARTING)
    assert executor.room() == 0
    assert log.words() == []
    flag.put()
    assert await recorder.result(running) == "waited"
    await switch
    assert not alive(old)
    assert log.words() != []
    assert executor.room() == 1


@both_modes
@both_ways
async def test_broken_release_leaves_the_old_one_serving(stage: Stage, mode: Mode, way: str) -> None:
    executor, recorder = await stage.actor(mode=mode)
    with pytest.raises(ExecutorStartError, match="SyntaxError"):
        await executor.switch(broken(stage, mode), mode=way, drain=5)
    assert executor.health().state is ExecutorState.READY
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1
    await executor.switch(actor_launch(stage.directory, mode=mode), mode=way, drain=5)
    executor.run(task := make_task(value=2))
    assert await recorder.result(task) == 2


async def test_stop_first_recovers_when_neither_release_starts(stage: Stage, flag: Mark) -> None:
    executor, recorder = await stage.actor(fail_if=str(flag), recovery={"max_restarts": 1000})
    flag.put()
    with pytest.raises(ExecutorStartError):
        await executor.switch(broken(stage), mode="stop_first", drain=5)
    assert executor.health().state is ExecutorState.RECOVERING
    flag.remove()
    await recorder.until(lambda: executor.room() == 1)


@both_modes
@both_ways
async def test_good_release_revives_a_degraded_executor(stage: Stage, mode: Mode, way: str, flag: Mark) -> None:
    executor, recorder = await stage.actor(mode=mode, fail_if=str(flag), recovery={"enabled": False})
    flag.put()
    for pid in executor.health().pids:
        os.kill(pid, signal.SIGKILL)
    await recorder.until(lambda: executor.health().state is ExecutorState.DEGRADED)
    with pytest.raises(ExecutorStartError):
        await executor.switch(broken(stage, mode), mode=way, drain=5)
    assert executor.health().state is ExecutorState.DEGRADED
    await executor.switch(actor_launch(stage.directory, mode=mode), mode=way, drain=5)
    assert executor.health().state is ExecutorState.READY
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1


async def test_suspects_move_to_the_new_release(stage: Stage) -> None:
    executor, recorder = await stage.actor(concurrency=2, recovery={"initial_delay": 60, "max_delay": 60})
    tasks = [make_task("exit", code=1), make_task(value=2)]
    for task in tasks:
        executor.run(task)
    await recorder.until(lambda: executor.health().state is ExecutorState.RECOVERING)
    await executor.switch(actor_launch(stage.directory), mode="overlap", drain=5)
    assert (await recorder.failure(tasks[0])).death
    assert await recorder.result(tasks[1]) == 2
    await recorder.until(lambda: executor.room() == 2)


async def test_death_of_a_draining_process_is_charged_but_restarts_nothing(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    (old,) = executor.health().pids
    executor.run(running := make_task("sleep", seconds=60))
    await executor.switch(actor_launch(stage.directory), mode="overlap", drain=60)
    (new,) = set(executor.health().pids) - {old}
    os.kill(old, signal.SIGKILL)
    assert (await recorder.failure(running)).death
    await recorder.until(lambda: executor.health().pids == (new,))
    assert executor.health().restarts == 0


async def test_second_switch_waits_for_the_first_ones_drain_but_no_longer_than_its_own(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    executor.run(stuck := make_task("sleep", seconds=60))
    await executor.switch(actor_launch(stage.directory), mode="overlap", drain=1000)
    await executor.switch(actor_launch(stage.directory), mode="overlap", drain=0.1)
    assert isinstance(await recorder.outcome(stuck), Released)
    await recorder.until(lambda: len(executor.health().pids) == 1)


async def test_change_of_mode_is_refused(stage: Stage) -> None:
    executor, _ = await stage.actor()
    with pytest.raises(ExecutorStartError, match="needs a restart"):
        await executor.switch(actor_launch(stage.directory, mode=Mode.ONE_SHOT), mode="overlap", drain=1)


@both_modes
@both_ways
async def test_stop_during_a_switch_ends_everything(stage: Stage, mode: Mode, way: str) -> None:
    executor, recorder = await stage.actor(mode=mode)
    executor.run(task := make_task("sleep", seconds=60))
    launch = actor_launch(stage.directory, mode=mode, never_ready=True)
    switch = asyncio.create_task(executor.switch(launch, mode=way, drain=1000))
    if way == "overlap":
        before = executor.health().pids
        await recorder.until(lambda: set(executor.health().pids) - set(before))
    else:
        await recorder.until(lambda: executor.health().state is ExecutorState.STARTING)
    await executor.stop(0.2)
    with pytest.raises(ExecutorStartError):
        await switch
    assert isinstance(await recorder.outcome(task), Released)
    assert executor.health().pids == ()
    assert executor.health().state is ExecutorState.STOPPED
