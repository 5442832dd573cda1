"""A Redis that has reached `maxmemory` and evicts nothing: what is there is worked off, and nothing is torn."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness
from support.asynq_world import World

from runqy_worker.backends.asynq import standing
from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.config.model import LifecycleConfig
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

    from runqy_worker.backends.asynq.backend import AsynqBackend

QUEUE = "jobs.a"
KEYS = QueueKeys(QUEUE)


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    made.db.config_set("maxmemory", 0)
    await made.close()


def fill(harness: AsynqHarness) -> None:
    harness.db.config_set("maxmemory", 1)


async def test_all_chores_but_enqueueing_go_on(redis_server: RedisServer) -> None:
    world = World(redis_server.addr)
    now = time.time()
    world.put("due", "retry", now - 1)
    world.put("over", "completed", now - 1)
    world.put("old", "archived", now - 100)
    world.put_active("lapsed", now - 9.5, hash_token="w/1")
    world.put("unleased", "active")
    world.put("lost", "pending")
    world.db.lrem(world.keys.pending, 1, "lost")
    upkeep = world.upkeep(lifecycle=LifecycleConfig(ttl_archived=10))
    world.db.config_set("maxmemory", 1)
    try:
        deadline = time.monotonic() + 30
        while set(world.pending()) != {"due", "lapsed", "unleased", "lost"} or world.db.exists(world.keys.archived):
            assert time.monotonic() < deadline, world.pending()
            pause = await upkeep.run()
            upkeep._due_at = {chore: min(due, time.monotonic() + 0.1) for chore, due in upkeep._due_at.items()}
            await asyncio.sleep(min(pause, 0.05))
        assert not world.db.exists(world.keys.task("over"), world.keys.completed, world.keys.task("old"))
    finally:
        world.db.config_set("maxmemory", 0)
        await world.close()


async def test_tasks_are_claimed_renewed_and_settled(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(QUEUE, retention=60) for _ in range(3)]
    backend = await harness.backend(QUEUE)
    fill(harness)
    tasks = await backend.claim(3)
    assert [task.id for task in tasks] == ids
    assert await backend.renew(tasks) == [True] * 3
    batch = [
        Settlement(tasks[0], Action.COMPLETE, result=b'"done"'),
        Settlement(tasks[1], Action.RETRY, retry_at=time.time() + 60, counted=True, error="no"),
        Settlement(tasks[2], Action.RELEASE),
    ]
    assert await backend.settle(batch) == [True] * 3
    assert [harness.look(QUEUE, task_id).state for task_id in ids] == ["completed", "retry", "pending"]
    assert harness.look(QUEUE, ids[0]).result == b'"done"'


async def test_what_a_wait_took_hold_of_is_claimed(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    waiting = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.1)
    task_id = harness.enqueue(QUEUE)
    await asyncio.wait_for(waiting, 10)
    fill(harness)
    assert [task.id for task in await backend.claim(1)] == [task_id]


async def test_a_refused_enqueue_leaves_nothing_behind(harness: AsynqHarness) -> None:
    harness.db.sadd("asynq:queues", QUEUE)
    before = set(harness.db.keys())
    async with AsynqClient(harness.options) as client:
        fill(harness)
        for about in ({}, {"unique_ttl": 60}, {"process_at": time.time() + 60}, {"group": "mail"}):
            with pytest.raises(BackendUnavailableError, match="OOM"):
                await client.enqueue_many([NewTask(QUEUE, b"{}", **about)])
    assert set(harness.db.keys()) == before


async def test_an_idle_worker_looks_every_second_and_waits_again_once_there_is_memory(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    task_id = harness.enqueue(QUEUE)
    tasks = await backend.claim(1)
    fill(harness)
    waiting = asyncio.ensure_future(backend.wait())
    await asyncio.wait_for(waiting, 10)
    assert await backend.claim(1) == []
    waiting = asyncio.ensure_future(backend.wait())
    await backend.settle([Settlement(tasks[0], Action.RELEASE)])
    await asyncio.wait_for(waiting, 10)
    assert [task.id for task in await backend.claim(1)] == [task_id]
    assert harness.recorder.actions().count("memory_full") == 1
    harness.db.config_set("maxmemory", 0)
    await asyncio.wait_for(backend.wait(), 10)
    task_id = await enqueue_for_waiter(harness, backend)
    assert [task.id for task in await backend.claim(1)] == [task_id]
    assert harness.recorder.actions().count("memory_free") == 1


async def enqueue_for_waiter(harness: AsynqHarness, backend: AsynqBackend) -> str:
    """A task that a blocked connection took hold of."""
    waiting = asyncio.ensure_future(backend.wait())
    deadline = time.monotonic() + 10
    while not harness.db.info("clients")["blocked_clients"]:
        assert time.monotonic() < deadline, "nobody waits"
        if waiting.done():  # it may end early
            assert await backend.claim(1) == []
            waiting = asyncio.ensure_future(backend.wait())
        await asyncio.sleep(0.05)
    task_id = harness.enqueue(QUEUE)
    await asyncio.wait_for(waiting, 10)
    return task_id


async def test_a_queue_that_was_refused_is_waited_on_again(
    harness: AsynqHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "_REFUSED_FOR", 0.5)
    harness.db.set(KEYS.pending, "not a list")
    backend = await harness.backend(QUEUE)
    assert await backend.claim(1) == []
    waiting = asyncio.ensure_future(backend.wait())
    harness.db.delete(KEYS.pending)
    await asyncio.wait_for(waiting, 10)
    assert await backend.claim(1) == []
    task_id = await enqueue_for_waiter(harness, backend)
    assert [task.id for task in await backend.claim(1)] == [task_id]
