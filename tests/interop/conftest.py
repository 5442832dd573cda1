"""The real asynq library, as a program that the tests call."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from support.asynq_go import Asynq
from support.asynq_world import World

from runqy_worker.backends.asynq.backend import AsynqBackend
from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.redis_server import RedisServer


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    world = World(redis_server.addr)
    yield world
    await world.close()


@pytest.fixture
def asynq(asynq_program: Path, world: World) -> Iterator[Asynq]:
    """The library on the queue of `world`."""
    asynq = Asynq(asynq_program, world.options.addr, world.keys.queue)
    yield asynq
    asynq.stop()


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsynqClient]:
    """Our producer."""
    async with AsynqClient(world.options) as client:
        yield client


@pytest.fixture
async def backend(world: World) -> AsyncIterator[AsynqBackend]:
    """Our worker's side."""
    backend = AsynqBackend(
        {world.keys.queue: 1},
        options=world.options,
        worker_id="host:1:00000001",
        lease=LeaseConfig(duration=0.3, renew_every=0.1, recover_every=0.05),
        lifecycle=LifecycleConfig(),
        max_retry=3,
        strict_priority=False,
        wait_connections=2,
        listener=world.recorder,
        clock=SystemClock(),
        rng=random.Random(1),
    )
    await backend.open()
    yield backend
    await backend.close()
