"""What a beat writes, as the runqy server and asynq's tools read it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from support.asynq_world import World

from runqy_worker.backends.asynq.codec import read_fields
from runqy_worker.backends.asynq.registry import AsynqRegistry
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.registry import LogLine, RunningTask, WorkerSnapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

WORKER = "host-1:77:deadbeef"
SERVER = "asynq:servers:{host-1:77:host-1:77:deadbeef}"
RUNNING = "asynq:active_workers:{host-1:77:host-1:77:deadbeef}"
HASH = f"asynq:workers:{WORKER}"


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    world = World(redis_server.addr)
    yield world
    await world.close()


@pytest.fixture
async def registry(world: World) -> AsyncIterator[AsynqRegistry]:
    registry = AsynqRegistry(world.options, listener=world.recorder, clock=SystemClock())
    yield registry
    await registry.close()


def snapshot(**changes: object) -> WorkerSnapshot:
    facts: dict[str, object] = {
        "worker_id": WORKER,
        "host": "host-1",
        "pid": 77,
        "started_at": 1_700_000_000.9,
        "concurrency": 4,
        "queues": {"q1.b": 1, "q1.a": 5},
        "strict_priority": True,
        "status": "running",
        "healthy": True,
        "metrics": {"cpu_percent": 12.5, "gpus": []},
        "recovery": {"q1": {"state": "ready"}},
        **changes,
    }
    return WorkerSnapshot(**facts)  # type: ignore[arg-type]  # keyed by name above


def line(seq: int) -> LogLine:
    return LogLine(ts=1000 + seq, src="stdout", text=f"line {seq}", seq=seq)


async def test_a_beat_tells_the_runqy_server_everything(world: World, registry: AsynqRegistry) -> None:
    await registry.beat(snapshot(), [])
    fields = world.db.hgetall(HASH)
    assert abs(int(fields.pop("last_beat")) - time.time()) < 5
    assert json.loads(fields.pop("metrics")) == {"cpu_percent": 12.5, "gpus": []}
    assert json.loads(fields.pop("recovery")) == {"q1": {"state": "ready"}}
    assert fields == {
        "worker_id": WORKER,
        "started_at": "1700000000",
        "started": "1700000000",
        "concurrency": "4",
        "queues": "map[q1.a:5 q1.b:1]",
        "status": "running",
        "healthy": "true",
    }
    assert 25 <= world.db.ttl(HASH) <= 30


async def test_a_beat_lists_the_server_for_asynq(world: World, registry: AsynqRegistry) -> None:
    task = RunningTask("t1", "work", b"{}", "q1.a", started_at=5, deadline=0)
    await registry.beat(snapshot(running=[task]), [])
    assert world.db.zrange("asynq:servers", 0, -1) == [SERVER]
    assert world.db.zrange("asynq:workers", 0, -1) == [RUNNING]
    assert 5 < world.db.zscore("asynq:servers", SERVER) - time.time() <= 10
    assert 5 <= world.db.ttl(SERVER) <= 10
    assert 5 <= world.db.ttl(RUNNING) <= 10
    info = list(read_fields(world.raw.get(SERVER)))
    assert (3, WORKER.encode()) in info
    assert (7, b"active") in info
    assert [number for number, _ in info].count(5) == 2
    assert (6, b"{}") in list(read_fields(world.raw.hget(RUNNING, "t1")))


async def test_a_task_that_ended_is_gone_with_the_next_beat(world: World, registry: AsynqRegistry) -> None:
    tasks = [RunningTask(name, "work", b"", "q1.a", started_at=5, deadline=9) for name in ("t1", "t2")]
    await registry.beat(snapshot(running=tasks), [])
    await registry.beat(snapshot(running=tasks[1:]), [])
    assert world.db.hkeys(RUNNING) == ["t2"]
    await registry.beat(snapshot(), [])
    assert not world.db.exists(RUNNING)


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"quiet": True}, b"stopped"), ({"status": "stopped"}, b"closed"), ({"status": "bootstrapping"}, b"active")],
)
async def test_asynq_is_told_in_its_own_words(
    world: World, registry: AsynqRegistry, changes: dict[str, object], word: bytes
) -> None:
    await registry.beat(snapshot(**changes, healthy=False), [])
    assert (7, word) in list(read_fields(world.raw.get(SERVER)))
    assert world.db.hget(HASH, "healthy") == "false"


async def test_log_lines_are_kept_up_to_a_number_and_stay_while_beats_go_on(
    world: World, registry: AsynqRegistry
) -> None:
    await registry.beat(snapshot(), [line(1)])
    world.db.expire(f"{HASH}:logs", 5)
    await registry.beat(snapshot(), [])
    assert world.db.ttl(f"{HASH}:logs") > 20
    assert json.loads(world.db.lindex(f"{HASH}:logs", 0)) == {"ts": 1001, "src": "stdout", "text": "line 1", "seq": 1}
    await registry.beat(snapshot(), [line(seq) for seq in range(2, 802)])
    kept = [json.loads(text)["seq"] for text in world.db.lrange(f"{HASH}:logs", 0, -1)]
    assert kept == list(range(302, 802))


async def test_leaving_takes_the_worker_off_every_list(world: World, registry: AsynqRegistry) -> None:
    task = RunningTask("t1", "work", b"", "q1.a", started_at=5, deadline=9)
    await registry.beat(snapshot(running=[task]), [line(1)])
    await registry.leave(WORKER)
    assert world.db.keys("*") == [f"{HASH}:logs"]
