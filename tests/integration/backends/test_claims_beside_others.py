"""Claims of many workers at once, and of workers that slept or were cut off meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness
from support.fakes import eventually
from support.tcp_proxy import TcpProxy

from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.config.model import LeaseConfig
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

    from runqy_worker.backends.asynq.backend import AsynqBackend

QUEUE = "jobs.a"
KEYS = QueueKeys(QUEUE)
CROWD = 50
"""Idle workers: more than the ids that a wait's claim looks at."""


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    await made.close()


async def next_task(backend: AsynqBackend) -> str:
    """Work as the engine does with one slot: wait, claim, close the waits; until there is a task."""
    while True:
        await backend.wait()
        tasks = await backend.claim(1)
        await backend.stop_waiting()
        if tasks:
            return tasks[0].id


async def test_as_many_tasks_as_idle_workers_all_at_once_each_find_one(harness: AsynqHarness) -> None:
    backends = [await harness.backend(QUEUE) for _ in range(CROWD)]
    for backend in backends:
        await backend.claim(1)
    working = [asyncio.ensure_future(next_task(backend)) for backend in backends]
    await eventually(lambda: harness.db.info("clients")["blocked_clients"] == CROWD)
    ids = [f"t{number:02}" for number in range(CROWD)]
    with harness.db.pipeline(transaction=True) as all_at_once:
        for task_id in ids:
            all_at_once.hset(KEYS.task(task_id), mapping={"type": "t", "payload": "{}", "state": "pending"})
        all_at_once.lpush(KEYS.pending, *ids)
        all_at_once.execute()
    found = await asyncio.wait_for(asyncio.gather(*working), 60)  # nobody sweeps here
    assert sorted(found) == ids


async def test_a_queue_that_is_paused_during_a_wait_is_found_again(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE, lease=LeaseConfig(duration=1))
    await backend.claim(1)
    working = asyncio.ensure_future(next_task(backend))
    await asyncio.sleep(0.05)
    harness.pause(QUEUE)
    await eventually(lambda: "queue_paused" in harness.recorder.actions())
    await asyncio.sleep(0.5)
    harness.resume(QUEUE)
    task_id = harness.enqueue(QUEUE)
    assert await asyncio.wait_for(working, 20) == task_id


async def test_many_idle_sub_queues_cost_one_command_a_look(harness: AsynqHarness) -> None:
    backend = await harness.backend(*(f"jobs.s{number}" for number in range(30)), wait_connections=2)
    await backend.claim(1)
    wait = asyncio.ensure_future(backend.wait())
    await eventually(lambda: harness.db.info("clients")["blocked_clients"] == 2)
    harness.db.config_resetstat()
    await eventually(lambda: "cmdstat_exists" in harness.db.info("commandstats"))
    await eventually(lambda: harness.db.info("commandstats")["cmdstat_exists"]["calls"] >= 4)
    assert "cmdstat_llen" not in harness.db.info("commandstats")
    task_id = harness.enqueue("jobs.s29")
    await asyncio.wait_for(wait, 20)
    assert [task.id for task in await backend.claim(1)] == [task_id]


async def test_a_message_is_written_for_what_a_wait_found_without_one(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    await backend.claim(1)
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.05)
    harness.db.hset(KEYS.task("plain"), mapping={"type": "t", "payload": "{}", "state": "pending"})
    harness.db.lpush(KEYS.pending, "plain")
    await asyncio.wait_for(wait, 20)
    [task] = await backend.claim(1)
    assert task.id == "plain"
    assert harness.db.hexists(KEYS.task("plain"), "msg")


async def test_a_claim_that_was_answered_while_the_worker_slept_is_verified(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE, lease=LeaseConfig(duration=0.4))
    await backend.claim(1)
    lost, kept = harness.enqueue(QUEUE), harness.enqueue(QUEUE)
    claim = asyncio.ensure_future(backend.claim(2))
    while not harness.held(QUEUE):
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251 - the whole process stands still
    harness.db.hset(KEYS.task(lost), "token", "another/1")
    assert [task.id for task in await claim] == [kept]


async def test_an_outage_leaves_no_pile_of_tokens_behind(harness: AsynqHarness, redis_server: RedisServer) -> None:
    with TcpProxy(redis_server.port) as proxy:
        backend = await harness.backend(QUEUE, options=RedisOptions(addr=proxy.addr))
        await backend.claim(1)
    for _ in range(20):
        with pytest.raises(BackendUnavailableError):
            await backend.claim(1)
    tokens = backend._claimer._taker.unanswered
    assert sum(map(len, tokens.values())) <= 1


async def test_the_same_queues_with_other_weights_do_not_begin_upkeep_anew(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE, "jobs.b")
    before = backend._upkeep
    backend.set_weights({"jobs.b": 7, QUEUE: 1})
    assert backend._upkeep is before
    low, high = harness.enqueue(QUEUE), harness.enqueue("jobs.b")
    assert [(await backend.claim(1))[0].id for _ in range(2)] == [high, low]
