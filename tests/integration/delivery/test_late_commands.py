from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness

from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.config.model import LeaseConfig
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

LEASE = LeaseConfig(duration=0.5, recover_every=0.05)


@pytest.fixture
async def harness(own_redis: RedisServer) -> AsyncIterator[AsynqHarness]:
    harness = AsynqHarness(own_redis.addr)
    yield harness
    await harness.close()


@pytest.mark.parametrize("patient", [True, False])
async def test_a_recovery_that_arrives_late_leaves_the_living_time_to_renew(
    harness: AsynqHarness, own_redis: RedisServer, patient: bool
) -> None:
    options = RedisOptions(addr=own_redis.addr, timeout=5 if patient else 0.3, connect_timeout=0.3)
    worker = await harness.backend("q", lease=LEASE)
    recoverer = await harness.backend("q", lease=LEASE, options=options)
    await asyncio.sleep(LEASE.duration * 1.2)
    await recoverer.upkeep()
    harness.enqueue("q")
    (task,) = await worker.claim(1)

    own_redis.pause()
    await asyncio.sleep(0.1)
    recovery = asyncio.ensure_future(recoverer.upkeep())
    await asyncio.sleep(LEASE.duration)
    renewal = asyncio.ensure_future(worker.renew([task]))
    await asyncio.sleep(0.1)
    own_redis.resume()
    if patient:
        await recovery
    else:
        with pytest.raises(BackendUnavailableError):
            await recovery
    assert await renewal == [True]
    assert await worker.settle([Settlement(task, Action.RELEASE)]) == [True]


async def test_the_dead_are_recovered_after_such_a_delay(harness: AsynqHarness, own_redis: RedisServer) -> None:
    worker = await harness.backend("q", lease=LEASE)
    recoverer = await harness.backend("q", lease=LEASE)
    await recoverer.upkeep()
    harness.enqueue("q")
    (task,) = await worker.claim(1)
    own_redis.pause()
    recovery = asyncio.ensure_future(recoverer.upkeep())
    await asyncio.sleep(LEASE.duration * 1.5)
    own_redis.resume()
    await recovery
    await harness.chores(recoverer, lambda: harness.line("q") == [task.id])
    assert await worker.renew([task]) == [False]
