"""Tasks that are not what they should be, written to Redis by others."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import redis
from integration.bad_input.mending import enqueue_bytes
from support.worker_site import ECHO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.worker_site import Site, WorkerProcess

QUEUE = "jobs.default"
PENDING = "asynq:{jobs.default}:pending"


def key(task_id: str) -> str:
    """Of a task's hash."""
    return f"asynq:{{{QUEUE}}}:t:{task_id}"


@pytest.fixture
def client(site: Site) -> Iterator[redis.Redis]:
    """For writing what no client writes."""
    with redis.Redis(port=site.redis.port) as client:
        client.sadd("asynq:queues", QUEUE)
        yield client


@pytest.fixture
def worker(site: Site) -> WorkerProcess:
    """A worker that is ready."""
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    worker.wait_for_line("ready")
    return worker


def good_task_passes(site: Site) -> None:
    """The queue is served on."""
    (task,) = site.enqueue(QUEUE, "good")
    assert site.finished(task).result == b'"good"'


@pytest.mark.parametrize("message", [b"\xff\xfe no protobuf", b'{"id": "x"}', b"\x0a\xff\xff\xff\xff\x0f"])
def test_bytes_that_are_no_task_are_archived_as_they_are(
    site: Site, client: redis.Redis, worker: WorkerProcess, message: bytes
) -> None:
    client.hset(key("odd"), mapping={"msg": message, "state": "pending", "pending_since": time.time_ns()})
    client.lpush(PENDING, "odd")
    line = worker.wait_for_line("task_unreadable")
    assert "odd" in line["message"]
    worker.wait_for(lambda: client.zscore(f"asynq:{{{QUEUE}}}:archived", "odd"), "it being archived")
    assert client.hget(key("odd"), "msg") == message
    good_task_passes(site)


def test_an_id_without_a_task_is_dropped_and_told(site: Site, client: redis.Redis, worker: WorkerProcess) -> None:
    client.lpush(PENDING, "ghost")
    good_task_passes(site)
    worker.wait_for(lambda: "ghost" in worker.log_text(), "the notice")
    assert client.llen(PENDING) == client.llen(f"asynq:{{{QUEUE}}}:active") == 0


def test_a_payload_that_is_not_json_arrives_as_null(site: Site, worker: WorkerProcess) -> None:
    task = enqueue_bytes(site, QUEUE, b"\xff\x00 not json")
    assert json.loads(site.finished(task).result or b"") is None
    assert not worker.lines("child_crashed")


def test_a_payload_of_many_lines_arrives_whole(site: Site, worker: WorkerProcess) -> None:
    task = enqueue_bytes(site, QUEUE, b'{\r\n  "a":\n [1,\n2]\n}')
    assert json.loads(site.finished(task).result or b"") == {"a": [1, 2]}
    assert not worker.lines("child_crashed")


def test_a_task_past_its_deadline_is_archived_unrun(site: Site, worker: WorkerProcess) -> None:
    (task,) = site.enqueue(QUEUE, 1, deadline=time.time() - 60)
    info = site.finished(task)
    assert (info.state, info.error) == ("archived", "deadline passed before the task could run")
    assert not worker.lines("child_crashed")


def test_a_key_of_another_kind_is_told_and_other_queues_are_served(site: Site, client: redis.Redis) -> None:
    client.set("asynq:{jobs.high}:pending", "somebody's own value")
    site.queue("jobs", {"main.py": ECHO}, sub_queues={"high": 9, "default": 1})
    worker = site.start()
    line = worker.wait_for_line("queue_refused")
    assert "jobs.high" in line["message"]
    good_task_passes(site)
    assert client.get("asynq:{jobs.high}:pending") == b"somebody's own value"
