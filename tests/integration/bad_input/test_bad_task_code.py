"""Task code that misbehaves: what its tasks come to, and that the others go on."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pytest
from integration.bad_input.mending import run_now

if TYPE_CHECKING:
    from support.worker_site import Site, WorkerProcess

MISBEHAVING = """\
import json, os, sys, time
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    task_id, payload = task["task_id"], task["payload"]
    if payload == "garbage":
        os.write(1, b"\\x00\\xff\\xfe{{{]] {'task_id': 1}\\n{\\"task_id\\": \\n\\n[1, 2\\n")
    elif payload == "huge print":
        os.write(1, b"x" * 100_000 + b"\\n")
        time.sleep(600)
    elif payload == "huge answer":
        print(json.dumps({"task_id": task_id, "result": "x" * 100_000}), flush=True)
        continue
    elif payload == "exit 0":
        print("that's all", file=sys.stderr, flush=True)
        os._exit(0)
    elif payload == "segfault":
        os.kill(os.getpid(), 11)
    elif payload == "wrong id":
        print(json.dumps({"task_id": "nobody", "result": 1}), flush=True)
    elif payload == "wrong id only":
        print(json.dumps({"task_id": "nobody", "result": 1}), flush=True)
        time.sleep(600)
    elif payload == "twice":
        print(json.dumps({"task_id": task_id, "result": "first"}), flush=True)
        print(json.dumps({"task_id": task_id, "result": "second"}), flush=True)
        continue
    elif payload == "hang":
        time.sleep(600)
    elif payload == "NaN":
        print('{"task_id": "%s", "result": {"loss": NaN}}' % task_id, flush=True)
        continue
    elif payload == "close stdout":
        os.close(1)
        time.sleep(600)
    elif payload == "error is no text":
        print(json.dumps({"task_id": task_id, "error": {"code": 7}, "retry": False}), flush=True)
        continue
    print(json.dumps({"task_id": task_id, "result": "done"}), flush=True)
"""


@pytest.fixture
def worker(site: Site) -> WorkerProcess:
    """A worker whose task code does what the payload says."""
    site.queue("jobs", {"main.py": MISBEHAVING})
    worker = site.start(
        process={"max_line": "2KiB", "stop_grace": "200ms", "timeout_grace": "200ms", "cancel_grace": "200ms"}
    )
    worker.wait_for_line("ready")
    return worker


def has_died(site: Site, task: str, times: int) -> bool:
    """Whether so many deaths are charged to it, and it waits for its retry."""
    info = site.task(task)
    return (info.state, info.deaths) == ("retry", times)


def said(worker: WorkerProcess, action: str) -> str:
    """The message of the first line with this action."""
    return str(worker.wait_for_line(action, seconds=20)["message"])


def test_garbage_on_stdout_is_logged_and_the_answer_behind_it_counts(site: Site, worker: WorkerProcess) -> None:
    (task,) = site.enqueue("jobs.default", "garbage")
    assert site.finished(task).result == b'"done"'
    printed = [line for line in worker.lines("task_output") if line.get("task_id") == task]
    assert [line["message"] for line in printed if line["message"].startswith("[1, 2")]


def test_too_long_a_print_fails_its_task_alone(site: Site, worker: WorkerProcess) -> None:
    bad, good = site.enqueue("jobs.default", "huge print", "fine")
    info = site.finished(bad)
    assert (info.state, site.finished(good).state) == ("archived", "completed")
    assert info.error == "permanent failure: the task code printed a line longer than 2048 bytes (process.max_line)"
    assert "2048 bytes" in said(worker, "line_too_long")


def test_too_long_an_answer_fails_its_task_alone(site: Site, worker: WorkerProcess) -> None:
    bad, good = site.enqueue("jobs.default", "huge answer", "fine")
    info = site.finished(bad)
    assert (info.state, site.finished(good).state) == ("archived", "completed")
    assert "process.max_line" in info.error
    assert not worker.lines("child_crashed")


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("exit 0", "process exited without being asked (exit code 0): that's all"),
        ("segfault", "process died (signal SIGSEGV)"),
    ],
)
def test_a_task_that_ends_its_process_is_charged_and_tried_again(
    site: Site, worker: WorkerProcess, payload: str, words: str
) -> None:
    bad, good = site.enqueue("jobs.default", payload, "fine")
    assert site.finished(good).state == "completed"
    info = site.task(bad)
    assert (info.state, info.retried, info.deaths) == ("retry", 1, 1)
    assert words in info.error
    assert f"task {bad} was the only one in it" in said(worker, "child_crashed")


def test_the_third_death_archives_a_task_as_poison(site: Site, worker: WorkerProcess) -> None:
    (bad,) = site.enqueue("jobs.default", "segfault", max_retry=25)
    for deaths in (1, 2):
        worker.wait_for(partial(has_died, site, bad, deaths), f"death {deaths}", seconds=20)
        run_now(site, bad, "jobs.default")
    info = site.finished(bad)
    assert info.state == "archived"
    assert info.error.startswith("poison: 3 process deaths charged to this task")
    (good,) = site.enqueue("jobs.default", "fine")
    assert site.finished(good).state == "completed"


def test_an_answer_for_an_unknown_task_is_dropped(site: Site, worker: WorkerProcess) -> None:
    (task,) = site.enqueue("jobs.default", "wrong id")
    assert site.finished(task).result == b'"done"'
    assert "'nobody' was dropped" in said(worker, "answer_dropped")


@pytest.mark.parametrize("payload", ["hang", "wrong id only"])
def test_a_task_that_is_never_answered_ends_with_its_timeout(site: Site, worker: WorkerProcess, payload: str) -> None:
    (bad,) = site.enqueue("jobs.default", payload, timeout=1, max_retry=0)
    (good,) = site.enqueue("jobs.default", "fine")
    info = site.finished(bad)
    assert (info.state, site.finished(good).state) == ("archived", "completed")
    assert "timeout" in info.error
    assert said(worker, "child_ended")


def test_the_second_answer_for_a_task_is_dropped(site: Site, worker: WorkerProcess) -> None:
    twice, good = site.enqueue("jobs.default", "twice", "fine")
    assert site.finished(twice).result == b'"first"'
    assert site.finished(good).result == b'"done"'
    assert twice in said(worker, "answer_dropped")


def test_an_answer_with_nan_is_mended_and_noted(site: Site, worker: WorkerProcess) -> None:
    (task,) = site.enqueue("jobs.default", "NaN")
    assert json.loads(site.finished(task).result or b"") == {"loss": None}
    assert "NaN became null" in said(worker, "answer_mended")


def test_a_process_that_closes_its_output_is_replaced(site: Site, worker: WorkerProcess) -> None:
    bad, good = site.enqueue("jobs.default", "close stdout", "fine")
    assert site.finished(good).state == "completed"
    info = site.task(bad)
    assert (info.state, info.deaths) == ("retry", 1)
    assert "closed its stdout" in said(worker, "child_crashed")


def test_an_error_that_is_no_text_is_kept_as_json(site: Site, worker: WorkerProcess) -> None:
    (task,) = site.enqueue("jobs.default", "error is no text")
    info = site.finished(task)
    assert (info.state, info.error) == ("archived", 'permanent failure: {"code": 7}')
    assert not worker.lines("child_crashed")
