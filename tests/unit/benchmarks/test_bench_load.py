"""What is measured is what an asynq client and a worker would do: the load and the reference loops are right."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

import benchmarks
from benchmarks import load, payloads
from benchmarks.reference import Loop
from benchmarks.spawning import spawn_rate
from benchmarks.wire import Wire, packed
from runqy_worker.backends.asynq.codec import decode_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

QUEUE = "load.default"
PREFIX = load.prefix(QUEUE)
HERE = Path(benchmarks.__file__).parent
ECHO = [sys.executable, str(HERE / "echo.py")]


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=redis_server.port, decode_responses=False) as connection:
        yield connection


def test_staged_tasks_become_pending_all_at_once(client: Any) -> None:
    load.stage(client, QUEUE, 2500, retention=60)
    assert client.llen(PREFIX + "pending") == 0
    load.release(client, [QUEUE])
    ids = client.lrange(PREFIX + "pending", 0, -1)
    assert len(set(ids)) == 2500
    task = client.hgetall(PREFIX + "t:" + ids[-1].decode())
    message = decode_message(task[b"msg"])
    assert (message.id, message.queue, message.payload) == (ids[-1].decode(), QUEUE, load.SMALL)
    assert message.retention == 60
    assert task[b"state"] == b"pending"
    assert abs(int(task[b"pending_since"]) / 1e9 - time.time()) < 60


def test_scheduled_tasks_wait_for_their_time(client: Any) -> None:
    due = int(time.time()) + 1000
    load.stage(client, QUEUE, 30, due=due)
    entries = client.zrange(PREFIX + "scheduled", 0, -1, withscores=True)
    assert [score for _, score in entries] == [due] * 30
    assert client.hget(PREFIX + "t:" + entries[0][0].decode(), "state") == b"scheduled"


@pytest.mark.parametrize("at_once", [1, 32])
def test_a_reference_loop_does_every_task_once(client: Any, at_once: int) -> None:
    load.stage(client, QUEUE, 100)
    load.release(client, [QUEUE])
    assert Loop(client, QUEUE, ECHO).run(100, at_once=at_once) > 0
    assert load.processed(client, [QUEUE]) == 100
    left = {key for key in client.keys(PREFIX + "*") if key != f"{PREFIX}processed".encode()}
    assert left == set()


def test_the_loop_for_payloads_writes_whole_results_however_large(client: Any) -> None:
    payload = payloads.payload_of(300_000)  # eight of these fit into no pipe
    assert len(payload) == 300_000
    load.stage(client, QUEUE, 8, payload, retention=60)
    load.release(client, [QUEUE])
    Loop(client, QUEUE, ECHO, keep=True).run(8, batch=8, at_once=8)
    kept = client.zrange(PREFIX + "completed", 0, -1)
    assert len(kept) == 8
    results = {client.hget(PREFIX + "t:" + one.decode(), "result").replace(b'": "', b'":"') for one in kept}
    assert results == {payload}


def test_waiting_ends_when_the_last_task_was_settled(client: Any) -> None:
    client.set(PREFIX + "processed", 7)
    done, elapsed = load.wait_done(client, [QUEUE], 7, time.perf_counter())
    assert done == 7
    assert elapsed < 60
    with pytest.raises(TimeoutError, match="only 7 of 8"):
        load.wait_done(client, [QUEUE], 8, time.perf_counter() - 400)


def test_failed_tasks_make_no_figure(client: Any) -> None:
    client.mset({PREFIX + "processed": 7, PREFIX + "failed": 2})
    with pytest.raises(RuntimeError, match="2 of 7 tasks failed"):
        load.wait_done(client, [QUEUE], 7, time.perf_counter())


def test_a_wire_returns_replies_in_order_and_raises_refusals(redis_server: RedisServer) -> None:
    with Wire(redis_server.addr) as wire:
        wire.send(packed(("SET", "a", 1), ("GET", "a")))
        assert [wire.receive(), wire.receive()] == [b"OK", b"1"]
        with pytest.raises(Exception, match="wrong number of arguments"):
            wire.call("GET")


def test_bare_spawns_are_counted_and_their_answers_read() -> None:
    assert spawn_rate([sys.executable, str(HERE / "echo_once.py")], 3, 2) > 0
    with pytest.raises(RuntimeError, match="ended with 3"):
        spawn_rate([sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(3)"], 1, 1)
