"""Tasks of the oldest documented form, served beside the proper one."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest
from support.asynq_world import World

from runqy_worker.backends.asynq.backend import AsynqBackend
from runqy_worker.backends.asynq.plain_keys import PlainKeys
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from support.redis_server import RedisServer

    from runqy_worker.backends.asynq.upkeep import Upkeep

LIST = "asynq:jobs.default:pending"


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    world = World(redis_server.addr)
    yield world
    await world.close()


async def keep_up(upkeep: Upkeep, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not until():
        assert time.monotonic() < deadline
        await asyncio.sleep(min(await upkeep.run(), 0.1))


def push(world: World, task_id: str, **fields: str) -> None:
    """As the oldest documents say."""
    world.db.hset(f"asynq:t:{task_id}", mapping={"type": "predict", "payload": '{"x":1}', **fields})
    world.db.lpush(LIST, task_id)


async def test_plain_tasks_become_proper_ones_in_order(world: World) -> None:
    push(world, "a", max_retry="7", timeout="60")
    push(world, "b", retry="2")
    push(world, "c", retry="9" * 5000)
    await world.upkeep(plain_keys=True).run()
    assert world.pending() == ["a", "b", "c"]
    assert not world.db.exists(LIST)
    message = world.message("a")
    assert (message.type, message.payload, message.queue) == ("predict", b'{"x":1}', "jobs.default")
    assert (message.retry, message.timeout, message.retention) == (7, 60, 86400)
    assert (world.message("b").retry, world.message("c").retry) == (2, 3)
    assert world.field("a", "state") == "pending"
    assert world.field("a", "ttl_completed") == "86400"
    assert world.db.hget("asynq:t:a", "queue") == "jobs.default"
    assert world.db.smembers("asynq:queues") == {"jobs.default"}


async def test_the_result_is_copied_to_where_their_producers_look(world: World) -> None:
    push(world, "a")
    upkeep = world.upkeep(plain_keys=True)
    await upkeep.run()
    assert not world.db.exists("asynq:result:a")
    world.db.lrem(world.keys.pending, 0, "a")
    world.db.zadd(world.keys.completed, {"a": time.time() + 60})
    world.db.hset(world.keys.task("a"), mapping={"state": "completed", "result": '{"y":2}'})
    await keep_up(upkeep, lambda: bool(world.db.exists("asynq:result:a")))
    assert world.db.get("asynq:result:a") == '{"y":2}'
    assert 86000 < world.db.ttl("asynq:result:a") <= 86400
    assert not world.db.exists(f"{world.keys.prefix}plain")


async def test_from_the_oldest_form_through_a_worker_and_back(world: World) -> None:
    push(world, "a", max_retry="7")
    backend = AsynqBackend(
        {world.keys.queue: 1},
        options=world.options,
        worker_id="host:1:00000001",
        lease=LeaseConfig(),
        lifecycle=LifecycleConfig(ttl_completed=0),
        max_retry=3,
        strict_priority=False,
        wait_connections=1,
        listener=world.recorder,
        clock=SystemClock(),
        rng=random.Random(1),
        plain_keys=True,
    )
    await backend.open()
    await backend.upkeep()
    (task,) = await backend.claim(1)
    assert (task.id, task.type, task.payload, task.max_retry) == ("a", "predict", b'{"x":1}', 7)
    await backend.settle([Settlement(task, Action.COMPLETE, result=b'{"y":2}')])
    deadline = time.monotonic() + 10
    while not world.db.exists("asynq:result:a"):
        assert time.monotonic() < deadline
        await asyncio.sleep(min(await backend.upkeep(), 0.1))
    assert world.db.get("asynq:result:a") == '{"y":2}'
    await backend.close()


async def test_an_id_without_a_hash_or_in_use_is_dropped_with_a_notice(world: World) -> None:
    world.db.lpush(LIST, "ghost", b"\xff\xfe")
    world.put("twin", "pending")
    push(world, "twin")
    await world.upkeep(plain_keys=True).run()
    assert world.pending() == ["twin"]
    assert not world.db.exists(LIST)
    assert world.recorder.actions().count("plain_task_dropped") == 3


async def test_an_id_whose_hash_is_no_hash_keeps_no_other_from_being_adopted(world: World) -> None:
    world.db.set("asynq:t:bad", "a string")
    world.db.lpush(LIST, "bad")
    push(world, "a")
    await world.upkeep(plain_keys=True).run()
    assert world.pending() == ["a"]
    assert not world.db.exists(LIST)
    assert world.recorder.actions().count("plain_task_dropped") == 1


async def test_ids_that_are_not_utf8_keep_no_other_from_being_adopted(world: World) -> None:
    for number in range(100):
        task_id = b"\xff%d" % number
        world.raw.lpush(LIST, task_id)
        world.raw.hset(b"asynq:t:" + task_id, "type", "predict")
        world.raw.hset(f"asynq:t:\ufffd{number}", "type", "of another")
    push(world, "a")
    upkeep = world.upkeep(plain_keys=True)
    await keep_up(upkeep, lambda: world.pending() == ["a"])
    assert not world.db.exists(LIST)
    assert world.raw.exists(b"asynq:t:\xff0"), "the description is still there"
    assert world.recorder.actions().count("plain_task_dropped") == 100


async def test_results_of_ids_that_are_not_utf8_or_no_hash_keep_no_other_from_being_copied(world: World) -> None:
    world.raw.sadd(f"{world.keys.prefix}plain", b"\xff", b"bad", b"a")
    world.raw.hset(world.keys.task_prefix.encode() + b"\xff", mapping={"state": "completed", "result": "1"})
    world.raw.set(world.keys.task("bad"), "a string")
    world.raw.hset(world.keys.task("a"), mapping={"state": "completed", "result": "2"})
    await world.upkeep(plain_keys=True).run()
    assert (world.raw.get(b"asynq:result:\xff"), world.raw.get("asynq:result:a")) == (b"1", b"2")
    assert not world.db.exists(f"{world.keys.prefix}plain")


async def test_a_line_of_the_wrong_type_keeps_tasks_in_the_list_and_is_told_once(world: World) -> None:
    for number in range(150):
        push(world, f"t{number}")
    world.db.set(world.keys.pending, "by mistake")
    plain = next(chore for chore in world.upkeep(plain_keys=True)._due_at if isinstance(chore, PlainKeys))
    assert await plain.run() > 0, "it would be tried again at once"
    assert await plain.run() > 0
    assert world.db.llen(LIST) == 150
    assert not world.db.exists(world.keys.task("t0"))
    assert world.recorder.actions().count("chore_failed") == 1
    world.db.delete(world.keys.pending)
    await plain.run()
    await plain.run()
    assert world.pending() == [f"t{number}" for number in range(150)]


async def test_more_than_a_batch_is_adopted_without_waiting(world: World) -> None:
    for number in range(150):
        push(world, f"t{number}")
    upkeep = world.upkeep(plain_keys=True)
    assert await upkeep.run() == 0
    await upkeep.run()
    assert world.pending() == [f"t{number}" for number in range(150)]


async def test_plain_keys_are_not_looked_at_unless_asked_for(world: World) -> None:
    push(world, "a")
    await world.upkeep().run()
    assert world.db.llen(LIST) == 1
