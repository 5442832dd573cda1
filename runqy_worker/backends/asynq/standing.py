"""What is known about the queues right now: which are paused, and which Redis refused to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.errors import BackendError
    from runqy_worker.domain.events import Listener
    from runqy_worker.domain.task import Task

_PAUSED_FOR = 1.0
_REFUSED_FOR = 10.0
"""Seconds that a queue is left alone after Redis refused a command on it (a key of the wrong type, say)."""
_NO_WAIT_FOR = 5.0
"""Seconds that a queue is not waited on after Redis had no memory for that. It is looked at meanwhile."""


class Standing:
    """Says which queues can be claimed from. A refused queue must not keep the others from being served."""

    def __init__(self, clock: Clock, listener: Listener) -> None:
        self._clock = clock
        self._listener = listener
        self._paused: dict[str, float] = {}
        self._refused_until: dict[str, float] = {}
        self._no_wait_until: dict[str, float] = {}
        self._told: dict[str, set[str]] = {}

    @property
    def any_refused(self) -> bool:
        """Whether some queue was refused when it was last asked for."""
        return bool(self._told)

    @property
    def any_paused(self) -> bool:
        """Whether some queue was paused when last looked at."""
        return bool(self._paused)

    @property
    def all_well(self) -> bool:
        """Whether every queue can be claimed from."""
        return not self._paused and not self._refused_until

    def is_open(self, queue: str) -> bool:
        """Whether it is to be served now."""
        return queue not in self._paused and not self._is_refused(queue)

    def is_waitable(self, queue: str) -> bool:
        """Whether it may be waited on."""
        return self.is_open(queue) and self._no_wait_until.get(queue, 0.0) <= self._clock.monotonic()

    def is_claimable(self, queue: str) -> bool:
        """Whether to ask for tasks. A paused queue is asked again every second: it may have been resumed."""
        if self._paused.get(queue, 0.0) > self._clock.monotonic():
            return False
        return not self._is_refused(queue)

    def is_paused(self, queue: str) -> bool:
        """Whether it was paused when last looked at."""
        return queue in self._paused

    def set_paused(self, queue: str, *, paused: bool) -> None:
        """Remember what a look at it has shown."""
        if paused:
            news = queue not in self._paused
            self._paused[queue] = self._clock.monotonic() + _PAUSED_FOR
            if news:
                self._tell("queue_paused", f"Queue {queue} is paused.", queue)
        elif self._paused and self._paused.pop(queue, None) is not None:
            self._tell("queue_resumed", f"Queue {queue} goes on.", queue)

    def refuse(self, queue: str, error: BackendError, *, outcomes: int = 0) -> None:
        """Leave the queue alone for a while, and say why, but not again and again.

        With it go so many `outcomes` that could not be written and are given up.
        """
        self._refused_until[queue] = self._clock.monotonic() + _REFUSED_FOR
        if outcomes:
            text = f"{outcomes} tasks of {queue} cannot be written to and are left to their leases: {error}"
            self._tell("outcomes_refused", text, queue, Level.ERROR)
        told = self._told.setdefault(queue, set())
        if str(error) not in told:
            told.add(str(error))
            text = (
                f"Queue {queue} cannot be served; it is tried every {_REFUSED_FOR:.0f} s until this is mended: {error}"
            )
            self._tell("queue_refused", text, queue, Level.ERROR)

    def give_up(self, task: Task, reason: str) -> None:
        """A task is archived because its outcome can't be written."""
        text = f"Task {task.id} of {task.queue} is archived: {reason}"
        self._listener.notice(Notice("outcome_too_large", text, Level.ERROR, task, fields={"queue": task.queue}))

    def serve(self, queue: str) -> None:
        """It gave tasks."""
        if self._told.pop(queue, None) is not None:
            self._tell("queue_served", f"Queue {queue} can be served again.", queue)

    def set_memory_full(self, queue: str, error: BackendError | None) -> None:
        """A wait was refused for want of memory, or (None) went well."""
        if error is not None:
            news = queue not in self._no_wait_until
            self._no_wait_until[queue] = self._clock.monotonic() + _NO_WAIT_FOR
            if news:
                text = f"Redis is out of memory: queue {queue} is looked at every second, not waited on: {error}"
                self._tell("memory_full", text, queue, Level.WARNING)
        elif self._no_wait_until and self._no_wait_until.pop(queue, None) is not None:
            self._tell("memory_free", f"Redis has memory again: queue {queue} is waited on.", queue)

    def _is_refused(self, queue: str) -> bool:
        until = self._refused_until.get(queue)
        if until is None:
            return False
        if self._clock.monotonic() < until:
            return True
        del self._refused_until[queue]
        return False

    def _tell(self, action: str, message: str, queue: str, level: Level = Level.INFO) -> None:
        self._listener.notice(Notice(action, message, level, fields={"queue": queue}))
