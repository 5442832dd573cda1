"""A whole backend in memory, for tests: yours and ours. It keeps the port's promises, and shows what became of tasks.

store = MemoryStore()
backend = MemoryBackend(store, {"emails.default": 1})
store.enqueue("emails.default", b'{"to": "a@example.org"}')
[task] = await backend.claim(1)
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.settlement import Action
from runqy_worker.domain.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.settlement import Settlement

_UPKEEP_EVERY = 1.0


@dataclass(slots=True)
class StoredTask:
    """A task as the store holds it.

    Attributes:
        state: `pending`, `active`, `scheduled`, `retry`, `completed`, `archived`, or `deleted`.
        run_at: Unix seconds when a scheduled or retried task becomes pending.
        retention: Seconds that it is kept after success; 0 deletes it at once.
        lease_until: Monotonic seconds until which its claim lasts.
        keep_until: Unix seconds when a completed task is purged.
        error: Text of the last failure.
        result: What its last success gave.
    """

    id: str
    type: str
    payload: bytes
    queue: str
    max_retry: int = 25
    retried: int = 0
    timeout: float = 1800
    deadline: float = 0
    pending_timeout: float = 0
    retention: float = 0
    state: str = "pending"
    run_at: float = 0
    pending_since: float = 0
    token: str = ""
    lease_until: float = 0
    keep_until: float = 0
    deaths: int = 0
    reruns: int = 0
    error: str = ""
    result: bytes | None = None


class MemoryStore:
    """What a server would hold: shared by all the backends that are given it.

    Attributes:
        tasks: Every task ever enqueued, by queue and id, also deleted ones.
        clock: Decides about leases and due times; give a fake one to make them pass.
        processed: Attempts that ended with success, revocation, or a counted failure.
        failed: Those of them that failed.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.tasks: dict[tuple[str, str], StoredTask] = {}
        self.processed = 0
        self.failed = 0
        self._pending: dict[str, list[StoredTask]] = {}
        self._paused: set[str] = set()
        self._waiting: list[MemoryBackend] = []
        self._listeners: list[Callable[[str], None]] = []

    def enqueue(
        self,
        queue: str,
        payload: bytes = b"{}",
        *,
        type: str = "",  # noqa: A002 - the field's name
        id: str = "",  # noqa: A002 - likewise
        delay: float = 0,
        max_retry: int = 25,
        timeout: float = 1800,
        deadline: float = 0,
        pending_timeout: float = 0,
        retention: float = 0,
    ) -> StoredTask:
        """Add a task, to be run after `delay` seconds. Raises ValueError when the queue has one of that id."""
        now = self.clock.time()
        task = StoredTask(
            id or str(uuid.uuid4()),
            type or queue,
            payload,
            queue,
            max_retry=max_retry,
            timeout=timeout,
            deadline=deadline,
            pending_timeout=pending_timeout,
            retention=retention,
            pending_since=now,
        )
        known = self.tasks.get((queue, task.id))
        if known is not None and known.state != "deleted":
            raise ValueError(f"queue {queue} has a task {task.id} already")
        self.tasks[queue, task.id] = task
        if delay > 0:
            task.state = "scheduled"
            task.run_at = now + delay
        else:
            self.push(task)
        return task

    def pause(self, queue: str) -> None:
        """Hand out nothing of this queue until `resume`."""
        self._paused.add(queue)

    def resume(self, queue: str) -> None:
        """Go on handing out tasks of this queue."""
        self._paused.discard(queue)
        self._wake(queue)

    def is_paused(self, queue: str) -> bool:
        """Whether the queue is paused."""
        return queue in self._paused

    def cancel(self, task_id: str) -> None:
        """Ask whoever runs the task to end it."""
        for listener in tuple(self._listeners):
            listener(task_id)

    def line(self, queue: str) -> tuple[StoredTask, ...]:
        """The pending tasks of a queue, first in line first."""
        return tuple(self._pending.get(queue, ()))

    def count(self, state: str, queue: str | None = None) -> int:
        """How many tasks are in this state."""
        return sum(task.state == state and queue in {None, task.queue} for task in self.tasks.values())

    def push(self, task: StoredTask, *, front: bool = False) -> None:
        """Make a task pending, at the end of the line or at its front, and wake one backend that waits for it."""
        task.state = "pending"
        task.token = ""
        line = self._pending.setdefault(task.queue, [])
        line.insert(0 if front else len(line), task)
        self._wake(task.queue)

    def pull(self, queue: str) -> StoredTask | None:
        """Take the first in line, unless the queue is paused."""
        line = self._pending.get(queue)
        return line.pop(0) if line and queue not in self._paused else None

    def has_pending(self, queues: Iterable[str]) -> bool:
        """Whether something could be taken from one of these queues."""
        return any(self._pending.get(queue) and queue not in self._paused for queue in queues)

    def forward(self) -> None:
        """Do the chores: due tasks become pending, lapsed leases are recovered to the front, old results are purged."""
        now, monotonic = self.clock.time(), self.clock.monotonic()
        lapsed = []
        for task in self.tasks.values():
            if task.state in {"scheduled", "retry"} and task.run_at <= now:
                task.pending_since = now
                self.push(task)
            elif task.state == "active" and task.lease_until <= monotonic:
                lapsed.append(task)
            elif task.state == "completed" and task.keep_until <= now:
                task.state = "deleted"
        for task in reversed(lapsed):
            task.reruns += 1
            self.push(task, front=True)

    def owned(self, task: Task) -> StoredTask | None:
        """The stored task, if `task`'s token still holds."""
        stored = self.tasks.get((task.queue, task.id))
        return stored if stored and stored.state == "active" and stored.token == task.token else None

    def waits(self, backend: MemoryBackend, *, waiting: bool) -> None:
        """Enter or remove a backend from those that wait; the one that waits longest is served first."""
        if backend in self._waiting:
            self._waiting.remove(backend)
        if waiting:
            self._waiting.append(backend)

    def subscribe(self, listener: Callable[[str], None], *, listening: bool) -> None:
        """Enter or remove someone who hears of cancellations."""
        (self._listeners.append if listening else self._listeners.remove)(listener)

    def _wake(self, queue: str) -> None:
        for backend in tuple(self._waiting):
            if queue in backend.queues and (task := self.pull(queue)) is not None:
                self.waits(backend, waiting=False)
                backend.deliver(task)


class MemoryBackend:
    """The port over a `MemoryStore`.

    Args:
        store: Shared with other backends, or None for one of its own.
        weights: Queue name -> weight; heavier queues are served first.
        worker_id: Unique among the backends of a store; a random one when empty.
        lease: Seconds that a claim lasts without renewal.
        store_result: Whether results are written.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        weights: Mapping[str, int] | None = None,
        *,
        worker_id: str = "",
        lease: float = 12.0,
        store_result: bool = True,
    ) -> None:
        self.store = store or MemoryStore()
        weights = weights or {"default": 1}
        self.queues = tuple(sorted(weights, key=lambda queue: -weights[queue]))
        self._owner = worker_id or uuid.uuid4().hex
        self._lease = lease
        self._store_result = store_result
        self._claims = itertools.count(1)
        self._held: list[StoredTask] = []
        self._delivered = asyncio.Event()

    async def open(self) -> None:
        """Nothing to connect."""

    async def close(self) -> None:
        """Give back what a wait took hold of."""
        await self.stop_waiting()

    def deliver(self, task: StoredTask) -> None:
        """Called by the store: a wait took hold of a task."""
        self._held.append(task)
        self._delivered.set()

    async def wait(self) -> None:
        """Block until there is something to claim."""
        if self._held or self.store.has_pending(self.queues):
            return
        self._delivered.clear()
        self.store.waits(self, waiting=True)
        await self._delivered.wait()

    async def stop_waiting(self) -> None:
        """Stop waiting, and give back to the front what was taken hold of."""
        self.store.waits(self, waiting=False)
        self._give_back()

    def _give_back(self) -> None:
        held, self._held = self._held, []
        for task in reversed(held):
            self.store.push(task, front=True)

    async def claim(self, want: int) -> list[Task]:
        """Take up to `want` tasks, each under a lease."""
        token = f"{self._owner}/{next(self._claims)}"
        welcome = [task for task in self._held if not self.store.is_paused(task.queue)]
        taken = welcome[:want]
        self._held = [task for task in self._held if task not in taken]
        self._give_back()
        for queue in self.queues:
            while len(taken) < want and (stored := self.store.pull(queue)) is not None:
                taken.append(stored)
        return [self._lend(stored, token) for stored in taken]

    def _lend(self, stored: StoredTask, token: str) -> Task:
        now = self.store.clock.monotonic()
        stored.state = "active"
        stored.token = token
        stored.lease_until = now + self._lease
        return Task(
            stored.id,
            stored.type,
            stored.payload,
            stored.queue,
            max_retry=stored.max_retry,
            retried=stored.retried,
            timeout=stored.timeout,
            deadline=stored.deadline,
            pending_since=stored.pending_since,
            pending_timeout=stored.pending_timeout,
            deaths=stored.deaths,
            reruns=stored.reruns,
            token=token,
            claimed_at=now,
        )

    async def renew(self, tasks: Sequence[Task]) -> list[bool]:
        """Extend the leases. False where the token is void."""
        flags = []
        for task in tasks:
            stored = self.store.owned(task)
            if stored is not None:
                stored.lease_until = self.store.clock.monotonic() + self._lease
            flags.append(stored is not None)
        return flags

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write outcomes. False where the token was void: nothing was written for that task."""
        flags = []
        released = []
        for settlement in settlements:
            stored = self.store.owned(settlement.task)
            flags.append(stored is not None)
            if stored is None:
                continue
            stored.token = ""
            if settlement.action is Action.RELEASE:
                stored.state = "released"
                stored.reruns += settlement.rerun
                released.append(stored)
            else:
                self._end(stored, settlement)
        for stored in reversed(released):
            self.store.push(stored, front=True)
        return flags

    def _end(self, stored: StoredTask, settlement: Settlement) -> None:
        now = self.store.clock.time()
        action = settlement.action
        counted = action is not Action.RETRY or settlement.counted
        self.store.processed += counted
        if action is Action.DISCARD:
            stored.state = "deleted"
        elif action is Action.COMPLETE:
            stored.state = "completed" if stored.retention > 0 else "deleted"
            stored.keep_until = now + stored.retention
            stored.deaths = stored.reruns = 0
            if self._store_result:
                stored.result = settlement.result
        else:
            self.store.failed += counted
            stored.error = settlement.error
            self._fail(stored, settlement, now)

    def _fail(self, stored: StoredTask, settlement: Settlement, now: float) -> None:
        if settlement.action is Action.ARCHIVE:
            stored.state = "archived"
            stored.deaths = stored.reruns = 0
            return
        stored.retried += settlement.counted
        stored.deaths += settlement.death
        if settlement.retry_at <= now:
            stored.pending_since = now
            self.store.push(stored)
        else:
            stored.state = "retry"
            stored.run_at = settlement.retry_at

    async def upkeep(self) -> float:
        """Do the store's chores. Returns seconds until the next."""
        self.store.forward()
        return _UPKEEP_EVERY

    async def listen(self, on_cancel: Callable[[str], None]) -> None:
        """Call `on_cancel` for each cancellation, until cancelled."""
        self.store.subscribe(on_cancel, listening=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.store.subscribe(on_cancel, listening=False)

    async def is_empty(self) -> bool:
        """Whether nothing is pending, scheduled or waiting for a retry in any of the queues, or in our hands."""
        waiting = {"pending", "scheduled", "retry"}
        return not any(
            task.queue in self.queues and (task.state in waiting or task.token.startswith(f"{self._owner}/"))
            for task in self.store.tasks.values()
        )
