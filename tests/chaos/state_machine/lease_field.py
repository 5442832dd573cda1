"""The field of play: one Redis on our clock, everyone who acts on it, and the model that every step is held against."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import redis
from chaos.state_machine.lease_actors import Worker
from chaos.state_machine.lease_clock import EXPIRIES, NOW, FastClock
from chaos.state_machine.lease_link import Rig
from chaos.state_machine.lease_model import Model, Violation, require
from chaos.state_machine.lease_snapshot import Eye
from chaos.state_machine.lease_waits import absorb_waits

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.keys import QUEUES, QueueKeys, lookup_key
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.config.model import LifecycleConfig

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from chaos.state_machine.lease_actors import GoHand
    from chaos.state_machine.lease_link import Waited
    from chaos.state_machine.lease_snapshot import Seen

NAMES = ("jobs.high", "jobs.low")
_COMPARED_ELSEWHERE = (b"}:t:", b"}:processed", b"}:failed")
_PATIENCE = 10.0
"""Real seconds until the answer to a wait that was served must be here."""


class Field:
    """Built on an empty Redis.

    Args:
        addr: Where Redis is.
        seed: Of everything random inside the program.
        archive_limit: Most archived tasks per queue.
        always_full: Compare everything after every step, instead of what the step may have touched.

    Attributes:
        steps: What was done, latest last; the end of a `Violation`'s text.
    """

    def __init__(self, addr: str, *, seed: int, archive_limit: int, ttl_archived: float, always_full: bool) -> None:
        host, port = addr.split(":")
        self.db: Any = redis.Redis(host=host, port=int(port))
        self.db.flushall()
        self.db.sadd(QUEUES, *NAMES)
        self.always_full = always_full
        self.lifecycle = LifecycleConfig(archive_limit=archive_limit, ttl_archived=ttl_archived)
        self.clock = FastClock(self.db)
        self.eye = Eye(self.db)
        self.model = Model(NAMES)
        self.options = RedisOptions(addr=addr)
        self.client_rig = Rig("client", self.clock)
        self.client = AsynqClient(self.options, listener=self.client_rig, clock=self.clock)
        self.workers: list[Worker] = []
        self.go: dict[bytes, GoHand] = {}
        self.steps: deque[str] = deque(maxlen=40)
        self._seed = seed
        self._joined = 0

    async def join(self, skew: float = 0.0) -> Worker:
        """One more worker, whose clock is so many seconds ahead."""
        self._joined += 1
        worker = Worker(
            f"worker-{self._joined}",
            NAMES,
            clock=self.clock,
            options=self.options,
            lifecycle=self.lifecycle,
            skew=skew,
            seed=self._seed * 1000 + self._joined,
        )
        self.workers.append(worker)
        await worker.backend.open()
        return worker

    async def close(self) -> None:
        """Everyone goes home."""
        for worker in self.workers:
            worker.rig.begin()
            await worker.backend.close()
        await self.client.close()
        self.db.close()

    def unfinished(self) -> int:
        """How many tasks wait or run."""
        queues = self.model.queues.values()
        return sum(
            len(each.pending) + len(each.active) + len(each.sets["scheduled"]) + len(each.sets["retry"])
            for each in queues
        )

    def note(self, step: str, *facts: object) -> None:
        """A step begins."""
        self.model.events["steps"] += 1
        self.steps.append(f"{self.clock.passed:.3f} {step % facts}")

    def advance(self, seconds: float) -> None:
        """Time passes, and nobody does anything."""
        self.clock.advance(seconds)
        self.model.pass_time(self.clock.micros // 1000)

    @property
    def now(self) -> float:
        """Unix seconds of Redis."""
        return self.clock.time()

    async def look(self, ids: Mapping[str, Collection[bytes]] | None = None) -> dict[str, Seen]:
        """The queues as Redis has them, with the rows of these tasks, or of all.

        Looks again until all who wait, as Redis counts them, are those who believe that they wait.
        """
        asked = {queue: (ids or {}).get(queue, ()) for queue in NAMES}
        ends = time.monotonic() + _PATIENCE
        while True:
            blocked, found = self.eye.look(asked, everything=self.always_full)
            if blocked == sum(len(worker.rig.open_waits) for worker in self.workers):
                return found
            if time.monotonic() > ends:
                raise Violation(f"Redis and the workers disagree about how many wait: {blocked}")
            await asyncio.sleep(0.0005)

    def ended_waits(self, queue: str) -> list[tuple[Worker, Waited]]:
        """Waits on it that ended and are not yet in the model."""
        return [(worker, each) for worker in self.workers for each in worker.rig.waited if each.queue == queue]

    def confirm(self, found: Mapping[str, Seen]) -> None:
        """Hold what was seen against the model, which has made the step already."""
        for queue, seen in found.items():
            absorb_waits(self, queue, seen)
            self.model.check(queue, seen, full=self.always_full)

    async def check(self, ids: Mapping[str, Collection[bytes]] | None = None) -> None:
        """Look, and hold it against the model."""
        self.confirm(await self.look(ids))

    async def check_everything(self) -> None:
        """Hold every key in Redis against the model."""
        always, self.always_full = self.always_full, True
        try:
            await self.check()
        finally:
            self.always_full = always
        self.check_keys()

    def check_keys(self) -> None:
        """Redis holds no key that nothing explains, and every lock that should be held."""
        locks = {key.encode(): holder for key, (holder, _) in self.model.locks.items()}
        for key, holder in locks.items():
            require(self.db.get(key) == holder, "lock %s: held by %s, expected %s", key, self.db.get(key), holder)
        lookups = {lookup_key(facts.id.decode()).encode() for facts in self.model.tasks.values() if facts.lookup}
        known = {NOW.encode(), EXPIRIES.encode(), QUEUES.encode(), *locks, *lookups}
        for name in NAMES:
            prefix = QueueKeys(name).prefix
            known |= {f"{prefix}{each}".encode() for each in ("pending", "active", "lease", "paused", "steward")}
            known |= {f"{prefix}{each}".encode() for each in ("scheduled", "retry", "archived", "completed")}
        found = set(self.db.keys("*"))
        require(lookups <= found, "records of tasks' queues that are missing: %s", lookups - found)
        known |= {lookup_key(task_id.decode()).encode() for task_id in self.model.leftovers}
        leaked = [key for key in found - known if not any(part in key for part in _COMPARED_ELSEWHERE)]
        require(not leaked, "keys that nothing explains: %s", leaked)
