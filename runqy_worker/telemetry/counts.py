"""Counts what happened since the start, for status and heartbeat."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.events import Silent
from runqy_worker.domain.histogram import Histogram
from runqy_worker.domain.settlement import Action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

WEIGHT = 0.1
"""Of the newest value in a moving average."""
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Seconds that the buckets of waits and durations reach up to."""

# Looked up once: an enum's members cost more to reach than all else that is done per task.
_COMPLETE, _RETRY, _ARCHIVE, _RELEASE = Action.COMPLETE, Action.RETRY, Action.ARCHIVE, Action.RELEASE


@dataclass(frozen=True, slots=True)
class LastError:
    """The failure that was seen last: `at` in Unix seconds."""

    task_id: str
    queue: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts at one moment.

    Attributes:
        started: Attempts handed to a process.
        completed: Tasks that succeeded.
        retried: Failures that will be tried again.
        archived: Tasks that failed for good.
        revoked: Tasks that were dropped.
        released: Tasks given back, uncharged.
        lost: Outcomes dropped because the lease was someone else's.
        wait: Moving average of the seconds that tasks waited before they were claimed; None before the first.
        duration: Moving average of the seconds that attempts took; None before the first.
        last_error: The newest failure.
    """

    started: int
    completed: int
    retried: int
    archived: int
    revoked: int
    released: int
    lost: int
    wait: float | None
    duration: float | None
    last_error: LastError | None

    def as_dict(self) -> dict[str, object]:
        """The same, JSON-ready."""
        return asdict(self)


class QueueCounts:
    """What happened to the tasks of one queue since the start.

    Attributes:
        started: Attempts handed to a process.
        by_action: Settlements that were accepted, indexed by `Action`.
        lost: Outcomes dropped because the lease was someone else's.
        repeated: Outcomes that were sent again and found written already, or the lease lost.
        deaths: Process deaths charged to a task.
        waits: Seconds that tasks waited before they were claimed.
        durations: Seconds from the start of attempts until their outcome was settled; not of tasks given back.
    """

    __slots__ = ("by_action", "deaths", "durations", "lost", "repeated", "started", "waits")

    def __init__(self) -> None:
        self.started = 0
        self.by_action = [0] * (max(Action) + 1)  # a list: hashing an enum member is slow
        self.lost = 0
        self.repeated = 0
        self.deaths = 0
        self.waits = Histogram(BOUNDS)
        self.durations = Histogram(BOUNDS)


class Counts(Silent):
    """A listener that counts. One clock reading per task, nothing kept per task."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._queues: dict[str, QueueCounts] = {}
        self._wait: float | None = None
        self._duration: float | None = None
        self._last_error: LastError | None = None
        self._wall_offset = self._clock.time() - self._clock.monotonic()

    @property
    def queues(self) -> Mapping[str, QueueCounts]:
        """By the name of each queue that a task came from."""
        return self._queues

    def task_started(self, task: Task) -> None:
        """Count it, and how long it had waited."""
        queue = self._queues.get(task.queue) or self._begin(task.queue)
        queue.started += 1
        if task.pending_since > 0:
            waited = task.claimed_at + self._wall_offset - task.pending_since
            before = self._wait
            if waited < 0:  # two hosts' clocks differ
                waited = 0.0
            waits = queue.waits
            waits.counts[bisect_left(BOUNDS, waited)] += 1  # what `Histogram.add` does, without the call
            waits.sum += waited
            self._wait = waited if before is None else before + WEIGHT * (waited - before)

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Count how it ended."""
        action = settlement.action
        task = settlement.task
        queue = self._queues.get(task.queue) or self._begin(task.queue)
        if not accepted:
            if settlement.tries > 1:
                queue.repeated += 1
            else:
                queue.lost += 1
            return
        queue.by_action[action] += 1
        if action is _RELEASE:
            return
        if task.started_at:
            took = self._clock.monotonic() - task.started_at
            before = self._duration
            durations = queue.durations
            durations.counts[bisect_left(BOUNDS, took)] += 1
            durations.sum += took
            self._duration = took if before is None else before + WEIGHT * (took - before)
        if action is _COMPLETE:
            return
        queue.deaths += settlement.death
        if action is _RETRY or action is _ARCHIVE:
            self._last_error = LastError(task.id, task.queue, settlement.error, self._clock.time())

    def totals(self) -> Totals:
        """What was counted so far."""
        self._wall_offset = self._clock.time() - self._clock.monotonic()  # follows a stepped wall clock, cheaply
        queues = self._queues.values()
        done = [sum(counts) for counts in zip(*(queue.by_action for queue in queues), strict=True)]
        done = done or [0] * (max(Action) + 1)
        return Totals(
            started=sum(queue.started for queue in queues),
            completed=done[Action.COMPLETE],
            retried=done[Action.RETRY],
            archived=done[Action.ARCHIVE],
            revoked=done[Action.DISCARD],
            released=done[Action.RELEASE],
            lost=sum(queue.lost + queue.repeated for queue in queues),
            wait=self._wait,
            duration=self._duration,
            last_error=self._last_error,
        )

    def _begin(self, queue: str) -> QueueCounts:
        counts = self._queues[queue] = QueueCounts()
        return counts
