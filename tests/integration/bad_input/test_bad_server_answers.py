"""A control server that answers wrongly, or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from integration.bad_input.mending import write_queues
from support.redis_server import free_port
from support.worker_site import ECHO

from runqy_worker.development.control_server import ControlServer, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.worker_site import Site, WorkerProcess

DEPLOYMENT = {"git_url": "/nowhere", "startup_cmd": "python main.py", "mode": "long_running"}
ANSWER: dict[str, object] = {
    "queue": {"name": "jobs", "priority": 1},
    "redis": {"addr": "127.0.0.1:1"},
    "sub_queues": [{"name": "jobs.default", "priority": 1}],
    "deployment": DEPLOYMENT,
}
PAGE = b"<html><head><title>Sign in</title></head><body>Please sign in</body></html>"

FINAL = {
    "a web page": (
        200,
        PAGE,
        78,
        "answered with a web page ('Sign in'), expected JSON. Does server.url name the runqy",
    ),
    "nothing": (200, b"", 78, "answered with nothing, expected JSON"),
    "missing fields": (
        200,
        b'{"redis": {}}',
        78,
        "redis.addr is missing; queue.name is missing; deployment.git_url is missing",
    ),
    "a list": (200, b"[]", 78, "expected an object"),
    "a wrong type": (200, json.dumps(ANSWER | {"sub_queues": 7}).encode(), 78, "sub_queues"),
    "an empty command": (
        200,
        json.dumps(ANSWER | {"deployment": DEPLOYMENT | {"startup_cmd": ""}}).encode(),
        78,
        "deployment.startup_cmd",
    ),
    "an unknown mode": (
        200,
        json.dumps(ANSWER | {"deployment": DEPLOYMENT | {"mode": "sometimes"}}).encode(),
        78,
        "deployment.mode",
    ),
    "401": (401, b'{"error": "access unauthorized"}', 77, "does not know the key (401): access unauthorized"),
    "403": (403, b'{"error": "insufficient permissions"}', 77, "the key is not allowed to register workers"),
    "404": (404, b'{"error": "queue \'jobs\' not found"}', 78, "the queue 'jobs' is not known"),
    "a redirect": (302, b"", 78, "set server.url to that server"),
    "500": (500, b"oops", 69, "failed (500) with 'oops'"),
}


@pytest.fixture
def control(site: Site) -> Iterator[ControlServer]:
    """The server of the site's workers."""
    site.queue("jobs", {"main.py": ECHO})
    write_queues(site)
    with ControlServer(site.directory / "queues.yml", redis_addr=site.redis.addr, port=free_port()) as control:
        site.settings["server"] = {"url": control.url, "api_key": control.api_key}
        del site.settings["local"], site.settings["redis"]
        yield control


def ended(worker: WorkerProcess) -> tuple[int, str]:
    """Its exit code and what it said."""
    return worker.process.wait(timeout=30), worker.log_text()


@pytest.mark.parametrize("name", FINAL)
def test_a_bad_answer_is_explained_and_its_task_waits(site: Site, control: ControlServer, name: str) -> None:
    status, body, code, words = FINAL[name]
    (task,) = site.enqueue("jobs.default", 1)
    control.faults.append(Fault(status=status, body=body, times=None, headers={"Location": "https://elsewhere"}))
    exit_code, text = ended(site.start(bootstrap={"give_up": True, "retries": 1}))
    assert words in text
    assert exit_code == code
    assert control.api_key not in text
    assert site.task(task).state == "pending"


@pytest.mark.parametrize(
    "fault",
    [Fault(status=500), Fault(drop=True), Fault(status=503, body=PAGE, content_type="text/html")],
    ids=["500", "hangs up", "503"],
)
def test_a_server_that_fails_for_a_while_is_asked_again(site: Site, control: ControlServer, fault: Fault) -> None:
    (task,) = site.enqueue("jobs.default", 1)
    control.faults.append(fault)
    worker = site.start()
    assert "attempt 1 of 3 failed" in worker.wait_for_line("registration_failed")["message"]
    assert site.finished(task).state == "completed"


def test_a_server_that_is_away_is_waited_for(site: Site, control: ControlServer) -> None:
    (task,) = site.enqueue("jobs.default", 1)
    control.stop()
    worker = site.start(bootstrap={"retries": 100})
    assert "Is the runqy server up?" in worker.wait_for_line("registration_failed")["message"]
    assert site.task(task).state == "pending"
    control.start()
    assert site.finished(task).state == "completed"


def test_a_refused_key_does_not_end_the_worker(site: Site, control: ControlServer) -> None:
    worker = site.start(server={"api_key": "outdated"})
    message = worker.wait_for_line("registration_waiting")["message"]
    assert "does not know the key (401)" in message
    assert "trying again in" in message
    assert "outdated" not in worker.log_text()
    assert worker.stop() == 0
    assert len(control.received) == 1
