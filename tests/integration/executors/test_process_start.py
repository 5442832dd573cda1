"""The start of the task code's process: ready, error, silence, death."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from integration.executors.stage import Mark, Stage, actor_launch, make_task

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.launch import Mode
from runqy_worker.domain.ports import ExecutorState

both_modes = pytest.mark.parametrize("mode", list(Mode))


@both_modes
async def test_ready_process_runs_tasks_with_every_field_of_the_request(stage: Stage, mode: Mode) -> None:
    executor, recorder = await stage.actor(mode=mode)
    assert executor.health().state is ExecutorState.READY
    task = make_task("request", value=[1, 2])
    task.retried, task.max_retry = 2, 9
    executor.run(task)
    assert await recorder.result(task) == {
        "task_id": task.id,
        "type": "job",
        "payload": {"do": "request", "value": [1, 2]},
        "retry_count": 2,
        "max_retry": 9,
        "queue": "q.default",
    }


async def test_prints_before_ready_are_logged_and_a_print_may_be_glued_to_it(stage: Stage) -> None:
    executor, recorder = await stage.actor(before="loading\n{}\n\xff\xfe\n\nalmost there... ")
    assert [line for _, _, line in recorder.output] == ["loading", "{}", "\ufffd\ufffd"]
    executor.run(task := make_task(value="ok"))
    assert await recorder.result(task) == "ok"


@both_modes
async def test_reported_error_is_the_message_and_the_last_output_comes_along(stage: Stage, mode: Mode) -> None:
    before = 'reading the model\n{"status": "error", "error": "model file is missing"}\n'
    executor, _ = stage.make(actor_launch(stage.directory, mode=mode, before=before, exit=1, stderr="bye\n"))
    with pytest.raises(ExecutorStartError, match="could not start: model file is missing") as caught:
        await executor.start()
    assert caught.value.output == ("reading the model", "bye")
    assert executor.health().state is ExecutorState.STOPPED
    assert executor.room() == 0


@both_modes
async def test_exit_before_ready_names_the_code_and_the_last_words(stage: Stage, mode: Mode) -> None:
    executor, _ = stage.make(actor_launch(stage.directory, mode=mode, exit=3, stderr="ImportError: torch\n"))
    with pytest.raises(ExecutorStartError, match=r"exit code 3\) before it was ready: ImportError: torch"):
        await executor.start()


async def test_silence_ends_with_the_startup_timeout_and_the_process(stage: Stage) -> None:
    launch = actor_launch(stage.directory, never_ready=True, ignore_term=True, startup_timeout=0.3)
    executor, _ = stage.make(launch, process={"stop_grace": 0.2})
    with pytest.raises(ExecutorStartError, match=r"not ready within 0\.3 s"):
        await executor.start()
    assert executor.health().pids == ()


async def test_start_can_be_tried_again(stage: Stage, flag: Mark) -> None:
    flag.put()
    executor, recorder = stage.make(actor_launch(stage.directory, fail_if=str(flag)))
    with pytest.raises(ExecutorStartError, match="told to fail"):
        await executor.start()
    flag.remove()
    await executor.start()
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1


@pytest.mark.parametrize("broken", ["command", "directory", "environment"])
async def test_what_can_not_be_executed_is_named(stage: Stage, broken: str) -> None:
    launch = actor_launch(stage.directory)
    if broken == "command":
        launch = replace(launch, argv=("no-such-command",))
    elif broken == "directory":
        launch = replace(launch, cwd=stage.directory / "gone")
    else:
        launch = replace(launch, env={"A": "\0"})
    executor, _ = stage.make(launch)
    with pytest.raises(ExecutorStartError, match="cannot start"):
        await executor.start()


async def test_command_is_found_on_the_path_of_the_launch(stage: Stage) -> None:
    bin_dir = stage.directory / "bin"
    bin_dir.mkdir()
    (bin_dir / "my-python").symlink_to(sys.executable)
    launch = actor_launch(stage.directory, env={"PATH": str(bin_dir)})
    _, recorder = await stage.start(replace(launch, argv=("my-python", *launch.argv[1:])))
    assert "child_ready" in recorder.actions()


async def test_death_right_after_ready_counts_as_a_failed_start_or_a_crash(stage: Stage) -> None:
    executor, recorder = stage.make(
        actor_launch(stage.directory, before='{"status":"ready"}\n', exit=5), recovery={"max_restarts": 2}
    )
    try:
        await executor.start()
    except ExecutorStartError as error:
        assert "exit code 5" in str(error)  # noqa: PT017 - either way is right, depending on who is faster
    else:
        await recorder.until(lambda: executor.health().state is ExecutorState.DEGRADED)


async def test_announced_concurrency_bounds_the_room(stage: Stage) -> None:
    for announced, room in ((8, 8), (3, 3), (20, 8)):
        launch = actor_launch(stage.directory, threads=True, concurrency=announced)
        executor, _ = await stage.start(launch, concurrency=8)
        assert executor.room() == room


async def test_stop_during_a_start_ends_it(stage: Stage) -> None:
    executor, _ = stage.make(actor_launch(stage.directory, never_ready=True))
    start = asyncio.create_task(executor.start())
    while not executor.health().pids:  # noqa: ASYNC110 - nothing reports this moment
        await asyncio.sleep(0.005)
    await executor.stop(2)
    with pytest.raises(ExecutorStartError, match="before it was ready"):
        await start


def oom_score_adj(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def test_child_leads_its_own_session_and_is_the_preferred_oom_victim(stage: Stage) -> None:
    executor, _ = await stage.actor()
    (pid,) = executor.health().pids
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert oom_score_adj(pid) == min(oom_score_adj(os.getpid()) + 300, 1000)
    assert psutil.Process(pid).num_fds() == 3
