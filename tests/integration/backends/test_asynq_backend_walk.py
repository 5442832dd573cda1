"""Random walks of several workers over one queue: whatever happens, every task is in exactly one place."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness
from support.tcp_proxy import TcpProxy

from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.config.model import LeaseConfig
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import TypeVar

    from support.redis_server import RedisServer

    from runqy_worker.backends.asynq.backend import AsynqBackend
    from runqy_worker.domain.task import Task

    T = TypeVar("T")

QUEUE = "jobs.a"
KEYS = QueueKeys(QUEUE)
STEPS = 250


def places(harness: AsynqHarness) -> dict[str, list[str]]:
    """Where each id is listed, besides its lease. Looked at in one instant: what was sent before may arrive late."""
    lists, sets = ("pending", "active"), ("retry", "scheduled", "completed", "archived")
    with harness.db.pipeline(transaction=True) as look:
        for name in lists:
            look.lrange(KEYS.prefix + name, 0, -1)
        for name in sets:
            look.zrange(KEYS.prefix + name, 0, -1)
        listed = look.execute()
    found: dict[str, list[str]] = {}
    for name, idents in zip((*lists, *sets), listed, strict=True):
        for ident in idents:
            found.setdefault(ident.decode(), []).append(name)
    return found


async def attempt(operation: Awaitable[T]) -> T | None:
    try:
        return await operation
    except BackendUnavailableError:
        return None


class Worker:
    """A backend and what it believes to hold."""

    def __init__(self, backend: AsynqBackend) -> None:
        self.backend = backend
        self.tasks: list[Task] = []

    async def step(self, rng: random.Random) -> None:
        what = rng.random()
        if what < 0.35:
            self.tasks += await attempt(self.backend.claim(rng.randint(1, 4))) or []
        elif what < 0.7 and self.tasks:
            rng.shuffle(self.tasks)
            count = rng.randint(1, len(self.tasks))
            batch, self.tasks = self.tasks[:count], self.tasks[count:]
            actions = (Action.COMPLETE, Action.RETRY, Action.RELEASE, Action.ARCHIVE)
            settlements = [Settlement(task, rng.choice(actions), error="x") for task in batch]
            while await attempt(self.backend.settle(settlements)) is None:
                pass
        elif what < 0.8 and self.tasks:
            flags = await attempt(self.backend.renew(self.tasks))
            if flags is not None:
                self.tasks = [task for task, ours in zip(self.tasks, flags, strict=True) if ours]
        elif what < 0.9:
            wait = asyncio.ensure_future(self.backend.wait())
            await asyncio.wait([wait], timeout=0.01)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        elif what < 0.95:
            await attempt(self.backend.stop_waiting())
        else:
            await attempt(self.backend.upkeep())


@pytest.mark.parametrize("seed", range(6))
async def test_no_walk_loses_or_doubles_a_task(redis_server: RedisServer, seed: int) -> None:
    rng = random.Random(seed)
    harness = AsynqHarness(redis_server.addr)
    lease = LeaseConfig(duration=0.3, renew_every=0.1, recover_every=0.1)
    with TcpProxy(redis_server.port) as proxy:
        options = RedisOptions(addr=proxy.addr)
        workers = [Worker(await harness.backend(QUEUE, options=options, lease=lease)) for _ in range(3)]
        ids = set()
        markers = [load("claim").sha.encode(), load("settle").sha.encode(), load("renew").sha.encode(), b"BLMOVE"]
        for step in range(STEPS):
            if step % 5 == 0:
                ids.add(harness.enqueue(QUEUE, retention=3600, max_retry=10**6))
            if rng.random() < 0.05:
                proxy.lose_reply_to(rng.choice(markers))
            if rng.random() < 0.02:
                harness.expire(QUEUE)
            await rng.choice(workers).step(rng)
            listed = places(harness)
            assert set(listed) == ids
            assert all(len(where) == 1 for where in listed.values()), listed
            held = [(task.id, task.token) for worker in workers for task in worker.tasks]
            assert len(held) == len(set(held))
        assert proxy.counts["lost"]
        proxy.lose_reply_to(b"")
        for worker in workers:
            worker.tasks.clear()
            await worker.backend.close()
        last = await harness.backend(QUEUE, lease=lease)
        deadline = time.monotonic() + 30
        while set(harness.db.lrange(KEYS.active, 0, -1)) or harness.line(QUEUE):
            assert time.monotonic() < deadline
            await last.upkeep()
            tasks = await last.claim(50)
            assert all(await last.settle([Settlement(task, Action.COMPLETE) for task in tasks]))
            await asyncio.sleep(0.02)
        listed = places(harness)
        assert set(listed) == ids
        assert {where[0] for where in listed.values()} <= {"completed", "archived"}
        assert harness.db.zcard(KEYS.lease) == 0
        await harness.close()
