"""`from runqy_worker import Worker, load_config`, as other programs use it."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from support.captured_log import Captured
from support.library_site import Running, until
from support.worker_site import ECHO

from runqy_worker import Worker
from runqy_worker.config.model import Config
from runqy_worker.domain.errors import ConfigError, DeploymentError, ExecutorStartError, RunqyError
from runqy_worker.domain.outcome import Completed, Failed

if TYPE_CHECKING:
    from pathlib import Path

    from support.library_site import Library

    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.task import Task

FAILING = """\
import json, sys
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps({"task_id": task["task_id"], "error": "no luck", "retry": True}), flush=True)
"""
NEVER_READY = """\
import time
time.sleep(600)
"""
SCRIPT = """\
import signal, sys
from runqy_worker import Worker, load_config

worker = Worker(load_config(sys.argv[1]))
signal.signal(signal.SIGTERM, lambda *_: worker.request_stop())
worker.bootstrap()
print("bootstrapped", flush=True)
worker.run()
print("stopped", flush=True)
"""


def test_a_script_bootstraps_runs_and_ends_on_sigterm(library: Library, tmp_path: Path) -> None:
    library.queue("jobs", {"main.py": ECHO})
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "error", "-X", "dev", str(script), str(library.write())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "bootstrapped\n", process.communicate(timeout=60)[1]
            (task,) = library.enqueue("jobs.default", [1])
            assert library.finished(task).result == b"[1]"
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "stopped\n")
    assert '"action":"ready"' in err
    assert "Warning" not in err


def test_run_in_a_thread_until_another_asks_it_to_stop(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    (task,) = library.enqueue("jobs.default", {"n": 1})
    running = Running(library.worker())
    assert library.finished(task).result == b'{"n": 1}'
    running.stop()


def test_bootstrap_makes_ready_and_run_works(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    worker = library.worker()
    worker.bootstrap()
    assert [lane.ready for lane in worker.lanes] == [True]
    running = Running(worker)
    (task,) = library.enqueue("jobs.default", 7)
    assert library.finished(task).result == b"7"
    running.stop()


async def test_synchronous_methods_say_what_to_use_on_a_running_loop(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    with pytest.raises(RuntimeError, match=r"await start\(\) and serve\(\) instead"):
        library.worker().run()


def test_what_is_no_configuration_is_named() -> None:
    with pytest.raises(TypeError, match="config: found str, expected what `load_config` returns"):
        Worker("config.yml")  # type: ignore[arg-type]  # that is the point


def test_a_worker_works_once(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    worker = library.worker()
    worker.request_stop()
    worker.run()
    with pytest.raises(RunqyError, match="this worker has ended: make another"):
        worker.run()


def test_a_stop_between_bootstrap_and_run_ends_the_process_it_started(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    worker = library.worker()
    worker.bootstrap()
    worker.request_stop()
    worker.run()


def test_a_stop_that_comes_before_the_run_is_not_forgotten(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    worker = library.worker()
    worker.request_stop()
    worker.run()
    worker.request_stop()  # and one that comes too late harms nobody


def test_a_stop_ends_a_bootstrap_that_would_take_long(library: Library) -> None:
    library.queue("jobs", {"main.py": NEVER_READY})
    log = Captured()
    worker = library.worker(logger=log.logger)
    running = threading.Thread(target=worker.bootstrap)
    running.start()
    until(lambda: "deploy_finished" in log.actions, "the deploy")
    worker.request_stop()
    running.join(30)
    assert not running.is_alive()
    worker.run()


def test_quiet_that_is_asked_for_early_holds_once_the_lane_is_ready(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    (task,) = library.enqueue("jobs.default", 1)
    log = Captured()
    worker = library.worker(logger=log.logger)
    worker.quiet()
    worker.bootstrap()
    running = Running(worker)
    until(lambda: "worker_started" in log.actions, "the start")
    assert library.task(task).state == "pending"
    worker.resume()
    assert library.finished(task).state == "completed"
    running.stop()


async def test_start_and_serve_on_a_running_loop(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    worker = await asyncio.to_thread(library.worker)
    await worker.start()
    serving = asyncio.create_task(worker.serve())
    (task,) = await asyncio.to_thread(library.enqueue, "jobs.default", "hello")
    assert (await asyncio.to_thread(library.finished, task)).result == b'"hello"'
    worker.request_stop()
    await serving


async def test_cancelling_serve_drains(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    log = Captured()
    worker = await asyncio.to_thread(library.worker, logger=log.logger)
    serving = asyncio.create_task(worker.serve())
    await asyncio.to_thread(until, lambda: "ready" in log.actions, "readiness")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert log.actions[-1] == "worker_stopped"


async def test_cancelling_start_leaves_nothing(library: Library) -> None:
    library.queue("jobs", {"main.py": NEVER_READY})
    log = Captured()
    worker = await asyncio.to_thread(library.worker, logger=log.logger)
    starting = asyncio.create_task(worker.start())
    await asyncio.to_thread(until, lambda: "deploy_finished" in log.actions, "the deploy")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


def test_your_retry_delay_is_used(library: Library) -> None:
    library.queue("jobs", {"main.py": FAILING})
    asked: list[tuple[int, str, str]] = []

    def delay(retried: int, error: str, task: Task) -> float:
        asked.append((retried, error, task.id))
        return 0.0

    (task,) = library.enqueue("jobs.default", 1, max_retry=2)
    running = Running(library.worker(retry_delay=delay))
    info = library.finished(task)
    running.stop()
    assert (info.state, info.retried) == ("archived", 2)
    assert asked == [(0, "no luck (will retry)", task), (1, "no luck (will retry)", task)]


def test_your_logger_gets_every_line_and_keeps_its_handlers(
    library: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    library.queue("jobs", {"main.py": ECHO})
    log = Captured()
    handlers = list(log.logger.handlers)
    running = Running(library.worker(logger=log.logger))
    (task,) = library.enqueue("jobs.default", 1)
    library.finished(task)
    running.stop()
    assert {"worker_started", "ready", "worker_stopped"} <= set(log.actions)
    assert log.logger.handlers == handlers
    assert capfd.readouterr().err == ""


def test_without_a_logger_the_configuration_says_how_lines_look(
    library: Library, capfd: pytest.CaptureFixture[str]
) -> None:
    library.queue("jobs", {"main.py": ECHO})
    worker = library.worker({"log": {"format": "journal"}})
    assert logging.getLogger("runqy_worker").handlers == []
    worker.request_stop()
    worker.run()
    lines = capfd.readouterr().err.splitlines()
    assert lines
    assert all(line.startswith("<") for line in lines)


class Trace:
    """Middleware that writes down what it sees."""

    def __init__(self, name: str, seen: list[str], answer: Outcome | None = None) -> None:
        self._name = name
        self._seen = seen
        self._answer = answer

    def before(self, task: Task) -> Outcome | None:
        self._seen.append(f"{self._name} before")
        return self._answer if task.payload == b'"skip"' else None

    def after(self, task: Task, outcome: Outcome) -> Outcome:
        self._seen.append(f"{self._name} after")
        return Failed("refused by the middleware", retryable=False) if task.payload == b'"bad"' else outcome


def test_your_middleware_sees_each_task_and_may_answer_for_it(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    seen: list[str] = []
    worker = library.worker(middleware=[Trace("outer", seen), Trace("inner", seen, Completed(b'"skipped"'))])
    running = Running(worker)
    (plain,) = library.enqueue("jobs.default", "plain")
    assert library.finished(plain).result == b'"plain"'
    assert seen == ["outer before", "inner before", "inner after", "outer after"]
    skipped, bad = library.enqueue("jobs.default", "skip", "bad")
    assert library.finished(skipped).result == b'"skipped"'
    assert library.finished(bad).error == "refused by the middleware"
    running.stop()


def test_a_bootstrap_that_fails_raises_what_went_wrong(library: Library, tmp_path: Path) -> None:
    library.queue("jobs", {"main.py": "raise SystemExit('no model')"})
    with pytest.raises(ExecutorStartError, match="exit code 1") as caught:
        library.worker().bootstrap()
    assert "no model" in "\n".join(caught.value.output)
    library.queue("jobs2", {"main.py": ECHO}, branch="absent")
    with pytest.raises(DeploymentError, match="absent") as failed:
        library.worker({"worker": {"queue": "jobs2"}}).bootstrap()
    assert isinstance(failed.value, RunqyError)
    with pytest.raises(ConfigError, match="no queue is configured"):
        Worker(Config())


def test_run_raises_instead_of_trying_again_where_the_configuration_says_so(library: Library) -> None:
    library.queue("jobs", {"main.py": "raise SystemExit('no model')"})
    with pytest.raises(ExecutorStartError):
        library.worker({"bootstrap": {"give_up": True}}).run()


def test_one_lane_that_fails_leaves_the_other_to_work(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    library.queue("broken", {"main.py": "raise SystemExit('no model')"})
    log = Captured()
    worker = library.worker({"worker": {"queue": "", "queues": ["broken", "jobs"]}}, logger=log.logger)
    worker.bootstrap()
    assert [lane.ready for lane in worker.lanes] == [False, True]
    running = Running(worker)
    (task,) = library.enqueue("jobs.default", 1)
    assert library.finished(task).state == "completed"
    running.stop()
    assert any("broken: not ready" in line for line in log.lines)


def test_two_workers_in_one_process(library: Library) -> None:
    library.queue("jobs", {"main.py": ECHO})
    library.queue("naps", {"main.py": ECHO})
    first = Running(library.worker())
    second = Running(library.worker({"worker": {"queue": "naps"}, "deployment": {"dir": str(library.directory / "2")}}))
    tasks = [library.enqueue(queue, queue)[0] for queue in ("jobs.default", "naps.default")]
    assert [library.finished(task).result for task in tasks] == [b'"jobs.default"', b'"naps.default"']
    assert first.worker.worker_id != second.worker.worker_id
    second.stop()
    (task,) = library.enqueue("jobs.default", "still here")
    assert library.finished(task).state == "completed"
    first.stop()
