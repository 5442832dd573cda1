"""Processes that are started by the small process are as those that the daemon forks itself, only sooner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from integration.executors.stage import Recorder, Stage, actor_launch, alive, make_task

from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.launch import Launch, Mode
from runqy_worker.executors import forker
from runqy_worker.executors.forker import Forker, ForkerLostError
from runqy_worker.executors.notices import LimitedNotices
from runqy_worker.executors.one_shot import OneShotExecutor
from runqy_worker.executors.starting import Starter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runqy_worker.executors.factory import SwitchableExecutor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the small process needs Linux")

LOOK = """
import ctypes, json, os, signal
signals = [line.split() for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
death = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(death), 0, 0, 0)
print(json.dumps({
    "environ": dict(os.environ), "cwd": os.getcwd(), "parent": os.getppid(), "death": death.value, "signals": signals,
    "leads": (os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()), "umask": os.umask(0),
    "files": sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1],
    "oom": int(open("/proc/self/oom_score_adj").read()), "read": input(),
}), flush=True)
"""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def starter(recorder: Recorder) -> AsyncIterator[Starter]:
    starter = Starter(LimitedNotices(recorder, SystemClock()))
    yield starter
    await starter.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


def forkers() -> list[psutil.Process]:
    """The small processes of this test, not ended."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any("forker_process" in word for word in child.cmdline()):
                found.append(child)
    return found


async def warm(starter: Starter) -> None:
    """Until the small process takes requests."""
    starter.expect_many()
    await until(lambda: starter._forker is not None and starter._forker._ready)


async def in_use(executor: SwitchableExecutor) -> None:
    """Until the executor's next processes are started by the small one."""
    assert isinstance(executor, OneShotExecutor)
    await warm(executor._context.starter)


async def run(starter: Starter, launch: Launch, text: bytes = b"hello\n") -> tuple[str, str, int]:
    """Start a process, give it text, and return what it printed on stdout and stderr, and its return code."""
    (stdin, feed), (read_out, stdout), (read_err, stderr) = (os.pipe() for _ in range(3))
    with os.fdopen(feed, "wb", buffering=0) as feeder, os.fdopen(read_out) as out, os.fdopen(read_err) as err:
        try:
            started = await starter.start(launch, stdin, stdout, stderr)
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        with contextlib.suppress(BrokenPipeError):
            feeder.write(text)
        feeder.close()
        return await asyncio.to_thread(lambda: (out.read(), err.read(), started.wait()))


def look_launch(directory: Path) -> Launch:
    env = {"PATH": os.environ["PATH"], "ÜMLAUT": "ß", "EMPTY": "", "BYTES": "\udcff", "PYTHONUTF8": "1"}
    return Launch((sys.executable, "-c", LOOK), directory, env)


async def test_process_finds_the_same_surroundings_either_way(starter: Starter, tmp_path: Path) -> None:
    direct = json.loads((await run(starter, look_launch(tmp_path)))[0])
    await warm(starter)
    forked = json.loads((await run(starter, look_launch(tmp_path)))[0])
    assert forked == direct
    assert forked["parent"] == os.getpid()
    assert forked["death"] == signal.SIGKILL
    assert forked["leads"] == [True, True]
    assert forked["files"] == [0, 1, 2]
    assert forked["read"] == "hello"


@pytest.mark.parametrize(
    ("argv", "code"), [(("sh", "-c", "exit 3"), 3), (("sh", "-c", "kill -9 $$"), -9), (("true",), 0)]
)
async def test_program_on_the_path_is_found_and_its_end_is_known(
    starter: Starter, tmp_path: Path, argv: tuple[str, ...], code: int
) -> None:
    await warm(starter)
    env = {"PATH": f"/nowhere:{tmp_path}:/bin:/usr/bin"}
    (tmp_path / "sh").write_text("not a program, and not executable either")
    assert (await run(starter, Launch(argv, tmp_path, env)))[2] == code


@pytest.mark.parametrize("fault", ["no program", "not executable", "no directory"])
async def test_failures_are_named_alike(starter: Starter, tmp_path: Path, fault: str) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    launch = {
        "no program": Launch(("missing-program",), tmp_path, {"PATH": "/bin:/usr/bin"}),
        "not executable": Launch((str(plain),), tmp_path, {"PATH": ""}),
        "no directory": Launch(("/bin/true",), tmp_path / "gone", {"PATH": ""}),
    }[fault]
    with pytest.raises(OSError) as direct:
        await run(starter, launch)
    await warm(starter)
    with pytest.raises(OSError) as forked:
        await run(starter, launch)
    assert (forked.value.errno, forked.value.strerror) == (direct.value.errno, direct.value.strerror)
    await until(lambda: [child.status() for child in psutil.Process().children()].count(psutil.STATUS_ZOMBIE) == 0)


@pytest.mark.parametrize("env", [{"A": "nul\0byte"}, {"A=B": "c"}])
async def test_what_no_process_can_be_given_is_refused(starter: Starter, tmp_path: Path, env: dict[str, str]) -> None:
    await warm(starter)
    with pytest.raises(ValueError, match=r"null byte"):
        await run(starter, Launch(("/bin/true",), tmp_path, env))


async def test_many_requests_at_once_are_all_served(starter: Starter, tmp_path: Path) -> None:
    await warm(starter)
    launch = Launch(("/bin/cat",), tmp_path, {"PATH": ""})
    results = await asyncio.gather(*(run(starter, launch, f"{number}\n".encode()) for number in range(40)))
    assert results == [(f"{number}\n", "", 0) for number in range(40)]


async def test_each_release_is_started_as_it_says(starter: Starter, tmp_path: Path) -> None:
    await warm(starter)
    for word in ("one", "two", "one"):
        launch = Launch(("/bin/echo", word), tmp_path, {"PATH": ""})
        assert (await run(starter, launch))[0] == f"{word}\n"


async def test_request_that_nobody_waits_for_leaves_no_process(starter: Starter, tmp_path: Path) -> None:
    await warm(starter)
    (small,) = forkers()
    before = psutil.Process().children()  # other tests' servers are among them
    small.suspend()
    started = asyncio.create_task(run(starter, Launch(("/bin/sleep", "60"), tmp_path, {"PATH": ""})))
    await asyncio.sleep(0)
    started.cancel()
    await asyncio.wait([started])
    small.resume()
    assert (await run(starter, Launch(("/bin/true",), tmp_path, {"PATH": ""})))[2] == 0
    await until(lambda: psutil.Process().children() == before)


async def test_lost_forker_fails_what_it_had_not_answered(recorder: Recorder, tmp_path: Path) -> None:
    lone = Forker(LimitedNotices(recorder, SystemClock()))
    lone.begin()
    await until(lambda: lone._ready)
    (small,) = forkers()
    small.suspend()
    null = os.open(os.devnull, os.O_RDWR)
    answer = lone.ask(Launch(("/bin/sleep", "60"), tmp_path, {"PATH": ""}), null, null, null)
    os.close(null)
    assert answer is not None
    small.kill()
    with pytest.raises(ForkerLostError):
        await answer
    assert "forker_lost" in recorder.actions()
    assert lone.ask(Launch(("/bin/true",), tmp_path, {}), 0, 1, 2) is None
    await lone.close()


async def test_tasks_run_on_when_the_small_process_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forker, "RETRY_PAUSE", 0.0)
    executor, recorder = await stage.one_shot(once=True, concurrency=2)
    await until(forkers)
    for number in range(6):
        for small in forkers():
            small.kill()
        executor.run(task := make_task(value=number))
        assert await recorder.result(task) == number
    await recorder.until(lambda: "forker_lost" in recorder.actions())
    assert executor.health().crashes == 0
    while not forkers():
        executor.run(task := make_task())
        await recorder.outcome(task)


async def test_children_outlive_the_small_process(stage: Stage) -> None:
    executor, recorder = await stage.one_shot(process={"standby": "1"})
    await in_use(executor)
    (first,) = executor.health().pids
    executor.run(make_task())
    assert isinstance(executor, OneShotExecutor)
    await recorder.until(lambda: len(executor._standby) == 1 and first not in executor.health().pids)
    (pid,) = executor.health().pids
    for small in forkers():
        small.kill()
    await recorder.until(lambda: "forker_lost" in recorder.actions())
    executor.run(task := make_task("pid"))
    assert await recorder.result(task) == pid


async def test_stopping_leaves_no_small_process(stage: Stage) -> None:
    executor, _ = await stage.one_shot()
    await until(forkers)
    await executor.stop(0.2)
    assert forkers() == []


async def test_long_running_task_code_needs_none(stage: Stage) -> None:
    executor, recorder = await stage.actor()
    executor.run(task := make_task(value=1))
    assert await recorder.result(task) == 1
    assert forkers() == []


async def test_process_dies_with_the_daemon_that_had_it_forked(tmp_path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from integration.executors.stage import Stage, make_task
async def main():
    stage = Stage(Path(sys.argv[1]))
    executor, recorder = await stage.one_shot(ignore_term=True, process={"standby": "2"}, concurrency=2)
    for _ in range(6):
        executor.run(task := make_task("pid"))
        await recorder.result(task)
    await recorder.until(lambda: len(executor.health().pids) == len(executor._standby) == 2)
    print(*executor.health().pids, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["tests", "."])}
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(tmp_path), stdout=asyncio.subprocess.PIPE, env=env, cwd=root
    )
    assert daemon.stdout is not None
    pids = [int(word) for word in (await daemon.stdout.readline()).split()]
    family = psutil.Process(daemon.pid).children()
    assert {child.pid for child in family} > set(pids)
    daemon.kill()
    await daemon.wait()
    deadline = time.monotonic() + 10
    while any(alive(child.pid) for child in family):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_one_shot_start_that_fails_later_says_why(stage: Stage) -> None:
    launch = actor_launch(stage.directory, mode=Mode.ONE_SHOT, startup_timeout=20)
    executor, recorder = await stage.start(launch, process={"standby": "0"}, recovery={"max_restarts": 0})
    await in_use(executor)
    object.__setattr__(launch, "argv", ("/no/such/program",))
    executor.run(make_task())
    await recorder.until(lambda: executor.health().last_crash)
    assert "cannot start '/no/such/program'" in executor.health().last_crash
    assert "No such file or directory" in executor.health().last_crash


REPLACED = """
import asyncio, pathlib
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.events import Silent
from runqy_worker.executors import forker
from runqy_worker.executors.notices import LimitedNotices

async def main():
    program = pathlib.Path("runqy_worker/executors/forker_process.py").resolve(strict=True)
    assert program.parent == pathlib.Path(forker.__file__).parent, "another copy was imported"
    program.unlink()
    program.write_text("raise SystemExit('of another version')")
    small = forker.Forker(LimitedNotices(Silent(), SystemClock()))
    small.begin()
    for _ in range(1000):
        if small._ready:
            print("ready")
            break
        await asyncio.sleep(0.01)
    await small.close()

asyncio.run(main())
"""


def test_it_is_started_as_it_was_when_the_daemon_was_although_an_upgrade_replaced_it(tmp_path: Path) -> None:
    package = Path(forker.__file__).parents[1]
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", REPLACED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "ready\n", done.stderr
