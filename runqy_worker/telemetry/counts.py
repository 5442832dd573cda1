"""Counts what happened since the start, for status and heartbeat."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.events import Silent
from runqy_worker.domain.settlement import Action

if TYPE_CHECKING:
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

WEIGHT = 0.1
"""Of the newest value in a moving average."""

# Looked up once: an enum's members cost more to reach than all else that is done per task.
_RETRY, _ARCHIVE, _RELEASE = Action.RETRY, Action.ARCHIVE, Action.RELEASE


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


class Counts(Silent):
    """A listener that counts. One clock reading per task, nothing kept per task."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._started = 0
        self._by_action = [0] * (max(Action) + 1)  # a list: hashing an enum member is slow
        self._lost = 0
        self._wait: float | None = None
        self._duration: float | None = None
        self._last_error: LastError | None = None
        self._wall_offset = self._clock.time() - self._clock.monotonic()

    def task_started(self, task: Task) -> None:
        """Count it, and how long it had waited."""
        self._started += 1
        if task.pending_since > 0:
            waited = task.claimed_at + self._wall_offset - task.pending_since
            before = self._wait
            if waited < 0:  # two hosts' clocks differ
                waited = 0.0
            self._wait = waited if before is None else before + WEIGHT * (waited - before)

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Count how it ended."""
        action = settlement.action
        if not accepted:
            self._lost += 1
            return
        self._by_action[action] += 1
        if action is _RELEASE:
            return
        task = settlement.task
        if task.started_at:
            took = self._clock.monotonic() - task.started_at
            before = self._duration
            self._duration = took if before is None else before + WEIGHT * (took - before)
        if action is _RETRY or action is _ARCHIVE:
            self._last_error = LastError(task.id, task.queue, settlement.error, self._clock.time())

    def totals(self) -> Totals:
        """What was counted so far."""
        self._wall_offset = self._clock.time() - self._clock.monotonic()  # follows a stepped wall clock, cheaply
        done = self._by_action
        return Totals(
            started=self._started,
            completed=done[Action.COMPLETE],
            retried=done[Action.RETRY],
            archived=done[Action.ARCHIVE],
            revoked=done[Action.DISCARD],
            released=done[Action.RELEASE],
            lost=self._lost,
            wait=self._wait,
            duration=self._duration,
            last_error=self._last_error,
        )
