"""What the conformance tests need of a backend's other side: to enqueue, to look, to let time pass."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import redis
from support.fakes import FakeClock, Recorder

from runqy_worker.backends.asynq.backend import AsynqBackend
from runqy_worker.backends.asynq.codec import TaskMessage, decode_message, encode_message
from runqy_worker.backends.asynq.keys import CANCEL_CHANNEL, QueueKeys
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.memory import MemoryBackend, MemoryStore
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.ports import Backend


@dataclass
class Seen:
    """A task as its store shows it; `state` is `deleted` when there is none."""

    state: str
    retried: int = 0
    error: str = ""
    result: bytes | None = None
    deaths: int = 0
    reruns: int = 0


class Harness(Protocol):
    """One store and any number of backends over it."""

    async def backend(self, *queues: str, store_result: bool = True, wait_connections: int = 8) -> Backend: ...

    def enqueue(self, queue: str, payload: bytes = b"{}", **about: Any) -> str: ...

    def look(self, queue: str, task_id: str) -> Seen: ...

    def line(self, queue: str) -> list[str]:
        """Ids of the pending tasks, first in line first."""

    def held(self, queue: str) -> int:
        """How many tasks are neither pending nor settled."""

    def counts(self, *queues: str) -> tuple[int, int]:
        """Attempts processed and failed."""

    def pause(self, queue: str) -> None: ...

    def resume(self, queue: str) -> None: ...

    def cancel(self, task_id: str) -> None: ...

    async def lapse(self, queue: str) -> None:
        """Let all leases lapse and be recovered."""

    def expire(self, queue: str) -> None:
        """Let all leases lapse, with nobody there to recover them."""

    async def chores(self, backend: Backend, until: Callable[[], bool]) -> None:
        """Do upkeep until the condition holds."""

    async def close(self) -> None: ...


class MemoryHarness:
    """Over a store in memory, with a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock)

    async def backend(self, *queues: str, store_result: bool = True, wait_connections: int = 8) -> Backend:
        weights = {queue: len(queues) - at for at, queue in enumerate(queues)}
        backend = MemoryBackend(self.store, weights, store_result=store_result)
        await backend.open()
        return backend

    def enqueue(self, queue: str, payload: bytes = b"{}", **about: Any) -> str:
        return self.store.enqueue(queue, payload, **about).id

    def look(self, queue: str, task_id: str) -> Seen:
        task = self.store.tasks[queue, task_id]
        return Seen(task.state, task.retried, task.error, task.result, task.deaths, task.reruns)

    def line(self, queue: str) -> list[str]:
        return [task.id for task in self.store.line(queue)]

    def held(self, queue: str) -> int:
        states = {"active", "pending"}
        known = [task for task in self.store.tasks.values() if task.queue == queue and task.state in states]
        return len(known) - len(self.line(queue))

    def counts(self, *queues: str) -> tuple[int, int]:
        return self.store.processed, self.store.failed

    def pause(self, queue: str) -> None:
        self.store.pause(queue)

    def resume(self, queue: str) -> None:
        self.store.resume(queue)

    def cancel(self, task_id: str) -> None:
        self.store.cancel(task_id)

    async def lapse(self, queue: str) -> None:
        self.expire(queue)
        self.store.forward()

    def expire(self, queue: str) -> None:
        self.clock.advance(1000)

    async def chores(self, backend: Backend, until: Callable[[], bool]) -> None:
        self.clock.advance(10)
        await backend.upkeep()
        assert until()

    async def close(self) -> None:
        pass


class AsynqHarness:
    """Over a real Redis, seen with a plain client."""

    def __init__(self, addr: str) -> None:
        host, port = addr.split(":")
        self.options = RedisOptions(addr=addr)
        self.db: Any = redis.Redis(host=host, port=int(port))
        self.recorder = Recorder()
        self._backends: list[AsynqBackend] = []

    async def backend(
        self,
        *queues: str,
        store_result: bool = True,
        wait_connections: int = 8,
        strict: bool = True,
        lease: LeaseConfig | None = None,
        lifecycle: LifecycleConfig | None = None,
        options: RedisOptions | None = None,
    ) -> AsynqBackend:
        backend = AsynqBackend(
            {queue: len(queues) - at for at, queue in enumerate(queues)},
            options=options or self.options,
            worker_id=f"host:1:{len(self._backends):08x}",
            lease=lease or LeaseConfig(recover_every=0.05),
            lifecycle=lifecycle or LifecycleConfig(),
            max_retry=3,
            strict_priority=strict,
            wait_connections=wait_connections,
            listener=self.recorder,
            clock=SystemClock(),
            rng=random.Random(len(self._backends)),
            store_result=store_result,
        )
        self._backends.append(backend)
        await backend.open()
        return backend

    def enqueue(self, queue: str, payload: bytes = b"{}", **about: Any) -> str:
        keys = QueueKeys(queue)
        task_id = str(about.pop("id", "") or uuid.uuid4())
        delay = about.pop("delay", 0)
        fields = about.pop("fields", {})
        message = TaskMessage(about.pop("type", queue), payload, task_id, queue, about.pop("max_retry", 25), **about)
        record = {"msg": encode_message(message), "state": "scheduled" if delay else "pending", **fields}
        if not delay:
            record["pending_since"] = time.time_ns()
        with self.db.pipeline(transaction=True) as pipe:
            pipe.hset(keys.task(task_id), mapping=record)
            if delay:
                pipe.zadd(keys.scheduled, {task_id: time.time() + delay})
            else:
                pipe.lpush(keys.pending, task_id)
            pipe.execute()
        return task_id

    def look(self, queue: str, task_id: str) -> Seen:
        fields = self.db.hgetall(QueueKeys(queue).task(task_id))
        if not fields:
            return Seen("deleted")
        message = decode_message(fields[b"msg"])
        return Seen(
            fields[b"state"].decode(),
            message.retried,
            message.error_msg,
            fields.get(b"result"),
            int(fields.get(b"deaths", 0)),
            int(fields.get(b"reruns", 0)),
        )

    def line(self, queue: str) -> list[str]:
        return [ident.decode() for ident in reversed(self.db.lrange(QueueKeys(queue).pending, 0, -1))]

    def held(self, queue: str) -> int:
        return int(self.db.llen(QueueKeys(queue).active))

    def counts(self, *queues: str) -> tuple[int, int]:
        keys = [QueueKeys(queue) for queue in queues]
        return (
            sum(int(self.db.get(key.processed) or 0) for key in keys),
            sum(int(self.db.get(key.failed) or 0) for key in keys),
        )

    def pause(self, queue: str) -> None:
        self.db.set(QueueKeys(queue).paused, int(time.time()))

    def resume(self, queue: str) -> None:
        self.db.delete(QueueKeys(queue).paused)

    def cancel(self, task_id: str) -> None:
        self.db.publish(CANCEL_CHANNEL, task_id)

    async def lapse(self, queue: str) -> None:
        self.expire(queue)
        other = await self.backend(queue, lease=LeaseConfig(duration=0.2, recover_every=0.05))
        await self.chores(other, lambda: self.held(queue) == 0)

    def expire(self, queue: str) -> None:
        keys = QueueKeys(queue)
        for ident, score in self.db.zrange(keys.lease, 0, -1, withscores=True):
            self.db.zadd(keys.lease, {ident: score - 1000})

    async def chores(self, backend: Backend, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not until():
            assert time.monotonic() < deadline
            await asyncio.sleep(min(0.02, await backend.upkeep()))

    async def close(self) -> None:
        for backend in self._backends:
            await backend.close()
        self.db.close()
