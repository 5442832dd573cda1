"""What an idle fleet costs Redis: counted in commands, never timed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness
from support.fakes import eventually

from runqy_worker.config.model import LeaseConfig
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

    from runqy_worker.backends.asynq.backend import AsynqBackend

QUEUE = "jobs.a"
TASKS = 20
PATIENT = LeaseConfig(duration=600)
"""A lease so long that no wait is renewed during the test."""


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    await made.close()


async def blocked(harness: AsynqHarness, count: int) -> None:
    """Until so many connections wait."""
    await eventually(lambda: harness.db.info("clients")["blocked_clients"] == count, seconds=20)


async def commands_per_task(harness: AsynqHarness, workers: int) -> dict[str, float]:
    """Redis commands, those within scripts too, from the enqueuing of a task to its settlement."""
    backends = [await harness.backend(QUEUE, lease=PATIENT) for _ in range(workers)]
    harness.enqueue(QUEUE)  # makes Redis know the scripts
    assert await backends[0].settle([Settlement(task, Action.DISCARD) for task in await backends[0].claim(1)]) == [True]
    for backend in backends:
        assert await backend.claim(1) == []
    waits: dict[asyncio.Task[None], AsynqBackend] = {
        asyncio.ensure_future(backend.wait()): backend for backend in backends
    }
    await blocked(harness, workers)
    harness.db.config_resetstat()
    for _ in range(TASKS):
        task_id = harness.enqueue(QUEUE)
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        (wait,) = done
        backend = waits.pop(wait)
        (task,) = await backend.claim(1)
        assert task.id == task_id
        assert await backend.settle([Settlement(task, Action.DISCARD)]) == [True]
        waits[asyncio.ensure_future(backend.wait())] = backend
        await blocked(harness, workers)
    stats = {name[len("cmdstat_") :]: each["calls"] for name, each in harness.db.info("commandstats").items()}
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    for backend in backends:
        await backend.close()
    ours = {"info", "config|resetstat", "multi", "exec"}
    return {name: calls / TASKS for name, calls in stats.items() if name not in ours}


async def test_the_commands_for_one_task_do_not_grow_with_the_idle_workers(harness: AsynqHarness) -> None:
    alone = await commands_per_task(harness, 1)
    harness.db.flushall()
    crowd = await commands_per_task(harness, 30)
    assert crowd == alone
    assert (alone["blmove"], alone["evalsha"]) == (1, 2)  # a wait with its claim, and a settlement
