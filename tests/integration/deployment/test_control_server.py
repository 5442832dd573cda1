from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import requests

from runqy_worker.development.control_server import ControlServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.redis_server import RedisServer

QUEUES = """
queues:
  jobs:
    priority: 1
    deployment: {git_url: u, startup_cmd: c}
"""


@dataclass
class FakeTask:
    id: str
    queue: str
    payload: bytes
    state: str = "pending"
    type: str = "t"
    max_retry: int = 3
    retried: int = 0
    error: str = ""
    last_failed_at: float = 0
    deadline: float = 0
    next_process_at: float = 0
    completed_at: float = 0
    result: bytes | None = None


class Store:
    def __init__(self) -> None:
        self.tasks: dict[str, FakeTask] = {}
        self.timeouts: list[float] = []

    def enqueue(self, queue: str, payloads: Sequence[bytes], timeout: float) -> Sequence[str | Exception]:
        self.timeouts.append(timeout)
        outcomes: list[str | Exception] = []
        for payload in payloads:
            if payload == b'"refuse me"':
                outcomes.append(ValueError("refused"))
                continue
            task = FakeTask(f"task-{len(self.tasks)}", queue, payload)
            self.tasks[task.id] = task
            outcomes.append(task.id)
        return outcomes

    def lookup(self, task_id: str) -> FakeTask | None:
        return self.tasks.get(task_id)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def server(tmp_path: Path, store: Store) -> Iterator[ControlServer]:
    path = tmp_path / "queues.yml"
    path.write_text(QUEUES)
    with ControlServer(path, redis_addr="r:1", enqueue=store.enqueue, lookup=store.lookup) as running:
        yield running


def call(server: ControlServer, method: str, path: str, body: Any = None, key: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.client_key if key is None else key}"}
    return requests.request(method, server.url + path, json=body, headers=headers, timeout=40)


def test_it_is_healthy(server: ControlServer) -> None:
    assert call(server, "GET", "/health").json() == {"status": "ok"}


def test_a_task_is_added_and_found(server: ControlServer, store: Store) -> None:
    added = call(server, "POST", "/queue/add", {"queue": "jobs", "timeout": 60, "data": {"a": 1}}).json()
    assert added["data"] == {"a": 1}
    assert json.loads(base64.b64decode(added["info"]["payload"])) == {"a": 1}
    assert (added["info"]["queue"], added["info"]["state"]) == ("jobs.default", "pending")
    assert store.timeouts == [60]
    task_id = added["info"]["id"]
    store.tasks[task_id].state = "completed"
    store.tasks[task_id].result = b'{"ok": true}'
    store.tasks[task_id].completed_at = 1700000000.0
    found = requests.get(f"{server.url}/queue/{task_id}", timeout=5).json()["Info"]
    assert (found["id"], found["state"], found["Result"]) == (task_id, "completed", '{"ok": true}')
    assert found["payload"] == '{"a": 1}'
    assert found["CompletedAt"] == "2023-11-14T22:13:20Z"
    assert found["LastFailedAt"] == "0001-01-01T00:00:00Z"


def test_the_flat_form_takes_every_other_key_as_data(server: ControlServer, store: Store) -> None:
    call(server, "POST", "/queue/add", {"queue": "jobs.default", "x": 1, "y": [2]})
    (task,) = store.tasks.values()
    assert json.loads(task.payload) == {"x": 1, "y": [2]}
    assert store.timeouts == [1800]


def test_a_batch_tells_what_was_taken_and_what_was_not(server: ControlServer, store: Store) -> None:
    body = {"queue": "jobs", "jobs": [{"n": 1}, "refuse me", [3]]}
    answer = call(server, "POST", "/queue/add-batch", body).json()
    assert answer == {"enqueued": 2, "failed": 1, "task_ids": ["task-0", "task-1"], "errors": ["refused"]}
    assert store.timeouts == [30]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/queue/add", {"data": {}}, 400),
        ("/queue/add", {"queue": "nope"}, 404),
        ("/queue/add", {"queue": "jobs.other"}, 404),
        ("/queue/add", {"queue": "jobs", "timeout": "1"}, 400),
        ("/queue/add", {"queue": "jobs", "data": "refuse me"}, 400),
        ("/queue/add", [], 400),
        ("/queue/add-batch", {"queue": "jobs", "jobs": []}, 400),
        ("/queue/other", {}, 404),
    ],
)
def test_bad_calls_are_refused_in_the_servers_words(server: ControlServer, path: str, body: Any, status: int) -> None:
    answer = call(server, "POST", path, body)
    assert answer.status_code == status
    assert len(answer.json()["errors"]) == 1


def test_keys_open_only_what_they_are_for(server: ControlServer) -> None:
    body = {"queue": "jobs"}
    assert call(server, "POST", "/queue/add", body, key="wrong").status_code == 401
    assert call(server, "POST", "/queue/add", body, key=server.api_key).status_code == 403
    assert call(server, "POST", "/worker/register", body).status_code == 403
    refused = call(server, "POST", "/worker/register", {"queue": "nope"}, key=server.api_key)
    assert (refused.status_code, refused.json()) == (404, {"error": "queue 'nope' not found"})
    header = {"X-API-Key": server.client_key}
    assert requests.post(f"{server.url}/queue/add", json=body, headers=header, timeout=5).status_code == 200


def test_waiting_for_a_task_ends_with_it(server: ControlServer, store: Store) -> None:
    store.tasks["t"] = FakeTask("t", "jobs.default", b"{}")
    answers: list[requests.Response] = []
    asking = threading.Thread(target=lambda: answers.append(call(server, "GET", "/queue/t?wait=true")))
    asking.start()
    while len(server.received) < 1:
        asking.join(0.01)
    store.tasks["t"].state = "archived"
    asking.join(20)
    assert answers[0].json()["Info"]["state"] == "archived"
    assert call(server, "GET", "/queue/none").status_code == 404


def test_stopping_ends_calls_that_wait(server: ControlServer, store: Store) -> None:
    store.tasks["t"] = FakeTask("t", "jobs.default", b"{}")
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(call(server, "GET", "/queue/t?wait=true").status_code))
    asking.start()
    while len(server.received) < 1:
        asking.join(0.01)
    server.stop()
    asking.join(20)
    assert answers == [408]


async def test_by_default_tasks_go_to_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    path = tmp_path / "queues.yml"
    path.write_text(QUEUES)
    async with ControlServer(path, redis_addr=redis_server.addr) as server:
        added = call(server, "POST", "/queue/add", {"queue": "jobs", "data": {"a": 1}}).json()
        found = call(server, "GET", f"/queue/{added['info']['id']}").json()["Info"]
        assert (found["queue"], found["state"], found["payload"]) == ("jobs.default", "pending", '{"a": 1}')
        assert call(server, "GET", "/queue/none").status_code == 404
    broken = path.write_text("queues: [")
    assert broken
    with ControlServer(path, redis_addr=redis_server.addr) as server:
        answer = call(server, "POST", "/worker/register", {"queue": "jobs"}, key=server.api_key)
        assert answer.status_code == 500
        assert "is not valid YAML" in answer.json()["errors"][0]
