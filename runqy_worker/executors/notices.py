"""Notices that can't flood the log: each kind at most once in a while, with a count of those left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Listener, Notice

if TYPE_CHECKING:
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.task import Task

EVERY = 10.0
"""Seconds between two notices of one kind."""


class LimitedNotices:
    """Passes on the first notice of each action, then one per `EVERY` seconds."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self._listener = listener
        self._clock = clock
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def emit(
        self, action: str, message: str, level: Level = Level.WARNING, *, task: Task | None = None, **fields: object
    ) -> None:
        """Pass the notice on, unless one of its action was passed on a moment ago."""
        now = self._clock.monotonic()
        if now < self._next.get(action, 0.0):
            self._left_out[action] = self._left_out.get(action, 0) + 1
            return
        self._next[action] = now + EVERY
        left_out = self._left_out.pop(action, 0)
        if left_out:
            message = f"{message} (and {left_out} more since the last such line)"
            fields["left_out"] = left_out
        self._listener.notice(Notice(action, message, level, task, fields))
