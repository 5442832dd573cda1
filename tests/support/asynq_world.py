"""One queue in a real Redis, seen with a plain client, and shorthands to put tasks where a test wants them."""

from __future__ import annotations

import random
from typing import Any

import redis

from runqy_worker.backends.asynq.codec import TaskMessage, decode_message, encode_message
from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.upkeep import Upkeep
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.clock import SystemClock
from support.fakes import Recorder


class World:
    """The queue `jobs.default`; `db` reads and writes behind the program's back."""

    def __init__(self, addr: str, queue: str = "jobs.default") -> None:
        host, port = addr.split(":")
        self.options = RedisOptions(addr=addr)
        self.db: Any = redis.Redis(host=host, port=int(port), decode_responses=True)
        self.raw: Any = redis.Redis(host=host, port=int(port))
        self.keys = QueueKeys(queue)
        self.recorder = Recorder()
        self.link = Link(self.options, "test", listener=self.recorder)

    async def close(self) -> None:
        await self.link.close()
        self.db.close()
        self.raw.close()

    def upkeep(self, *, recover_every: float = 0.05, duration: float = 0.2, **settings: Any) -> Upkeep:
        """With leases so short that a test need not wait."""
        lifecycle = settings.pop("lifecycle", LifecycleConfig())
        clock = settings.pop("clock", SystemClock())
        return Upkeep(
            [self.keys],
            self.link,
            lease=LeaseConfig(duration=duration, recover_every=recover_every),
            lifecycle=lifecycle,
            max_retry=3,
            listener=self.recorder,
            clock=clock,
            rng=random.Random(7),
            **settings,
        )

    def put(self, task_id: str, state: str, score: float | None = None, **fields: Any) -> None:
        """Write a task as asynq has it in `state`; `fields` are of the message, named `hash_...` of the hash."""
        extra = {name.removeprefix("hash_"): fields.pop(name) for name in list(fields) if name.startswith("hash_")}
        message = TaskMessage(
            **{"type": "work", "id": task_id, "queue": self.keys.queue, "payload": b"{}", "retry": 3, **fields}
        )
        self.raw.hset(self.keys.task(task_id), mapping={"msg": encode_message(message), "state": state, **extra})
        if state in {"pending", "active"}:
            self.db.lpush(self.keys.prefix + state, task_id)
        else:
            self.db.zadd(self.keys.prefix + state, {task_id: score or 0})

    def put_active(self, task_id: str, lease: float, **fields: Any) -> None:
        """A task that someone claimed with this lease."""
        self.put(task_id, "active", **fields)
        self.db.zadd(self.keys.lease, {task_id: lease})

    def message(self, task_id: str) -> TaskMessage:
        return decode_message(self.raw.hget(self.keys.task(task_id), "msg"))

    def field(self, task_id: str, name: str) -> Any:
        return self.db.hget(self.keys.task(task_id), name)

    def pending(self) -> list[str]:
        """The line, who is next first."""
        ids: list[str] = self.db.lrange(self.keys.pending, 0, -1)
        return ids[::-1]
