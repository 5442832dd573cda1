"""What a daemon leaves behind when it is killed: nothing that works on, and nothing of anyone else's is touched."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from integration.executors.stage import Stage, alive, make_task

from runqy_worker.executors.reaper import reap_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAEMON = """
import asyncio, sys
from pathlib import Path
from integration.executors.stage import Stage, make_task
async def main():
    executor, recorder = await Stage(Path(sys.argv[1])).actor(ignore_term=True)
    executor.run(task := make_task("grandchild", hold=False))
    grandchild = await recorder.result(task)
    await recorder.until(lambda: list(Path(sys.argv[1], "state").glob("*.jsonl")))
    print(executor.health().pids[0], grandchild, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def eventually(condition: Callable[[], object], within: float = 10) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def killed_daemon(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A daemon that was killed with SIGKILL; gives the pids of its child and of what the child had started."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["tests", "."])}
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=env,
        cwd=Path(__file__).parents[3],
    ) as daemon:
        assert daemon.stdout is not None
        child, grandchild = map(int, daemon.stdout.readline().split())
        assert alive(child)
        assert alive(grandchild)
        daemon.kill()
        daemon.wait()
    yield child, grandchild
    for pid in (child, grandchild):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_kernel_kills_the_child_and_the_next_daemon_the_grandchild(
    killed_daemon: tuple[int, int], tmp_path: Path
) -> None:
    child, grandchild = killed_daemon
    eventually(lambda: not alive(child))
    assert alive(grandchild)
    assert reap_leftovers(tmp_path / "state") == 1
    eventually(lambda: not alive(grandchild))
    assert list((tmp_path / "state").iterdir()) == []
    assert reap_leftovers(tmp_path / "state") == 0


async def test_children_of_a_living_daemon_are_left_alone(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    (pid,) = executor.health().pids
    state = stage.directory / "state"
    await recorder.until(lambda: list(state.glob("*.jsonl")))
    assert await asyncio.to_thread(reap_leftovers, state) == 0
    assert alive(pid)
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1


@pytest.mark.parametrize("change", ["start time", "boot", "search path of the group"])
def test_strangers_are_never_touched(killed_daemon: tuple[int, int], tmp_path: Path, change: str) -> None:
    child, grandchild = killed_daemon
    eventually(lambda: not alive(child))
    (file,) = (tmp_path / "state").glob("*.jsonl")
    owner, recorded = (json.loads(line) for line in file.read_text().splitlines())
    if change == "boot":
        owner["boot"] = "another"
    elif change == "start time":
        recorded |= {"pid": os.getpid(), "started": 1}
    else:
        recorded["path"] = "0123456789abcdef"
    file.write_text(f"{json.dumps(owner)}\n{json.dumps(recorded)}\n")
    assert reap_leftovers(tmp_path / "state") == 0
    assert alive(grandchild)


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\n\n", '{"pid": 1, "started": 1}', '{"pid": 1, "boot": '])
def test_damaged_records_are_thrown_away(tmp_path: Path, content: str) -> None:
    (tmp_path / "children-1-1.jsonl").write_text(content)
    assert reap_leftovers(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_no_state_directory_is_no_error(tmp_path: Path) -> None:
    assert reap_leftovers(tmp_path / "none") == 0


async def test_state_directory_that_can_not_be_written_is_reported_and_harmless(stage: Stage) -> None:
    (stage.directory / "state").write_text("a file, not a directory")
    executor, recorder = await stage.actor()
    await recorder.until(lambda: "child_records_failed" in recorder.actions())
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1
