"""What is known about the queues right now: which are paused, and which Redis refused to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.errors import BackendError
    from runqy_worker.domain.events import Listener

_PAUSED_FOR = 1.0
_REFUSED_FOR = 30.0
"""Seconds that a queue is left alone after Redis refused a command on it (a key of the wrong type, say)."""


class Standing:
    """Says which queues can be claimed from. A refused queue must not keep the others from being served."""

    def __init__(self, clock: Clock, listener: Listener) -> None:
        self._clock = clock
        self._listener = listener
        self._paused: dict[str, float] = {}
        self._refused_until: dict[str, float] = {}

    def is_open(self, queue: str) -> bool:
        """Whether it may be waited on."""
        return queue not in self._paused and not self._is_refused(queue)

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

    def refuse(self, queue: str, error: BackendError) -> None:
        """Leave the queue alone for a while, and say why."""
        self._refused_until[queue] = self._clock.monotonic() + _REFUSED_FOR
        text = f"Queue {queue} cannot be served, trying again in {_REFUSED_FOR:.0f} s: {error}"
        self._tell("queue_refused", text, queue, Level.ERROR)

    def _is_refused(self, queue: str) -> bool:
        until = self._refused_until.get(queue)
        return until is not None and self._clock.monotonic() < until

    def _tell(self, action: str, message: str, queue: str, level: Level = Level.INFO) -> None:
        self._listener.notice(Notice(action, message, level, fields={"queue": queue}))
