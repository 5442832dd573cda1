"""What is known of how many tasks wait where, so that a claim need not ask every queue each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.domain.clock import Clock

EMPTY_FOR = 0.02
"""Seconds for which a queue that was empty is taken to be empty still, while others have tasks."""

FEW = 16
"""Queues that one call asks while there is much to do."""


class Lengths:
    """Remembers what claims have seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: dict[str, int] = {}
        self._empty_at: dict[str, float] = {}

    def choose(self, order: Sequence[str], want: int) -> tuple[Sequence[str], Sequence[str]]:
        """The queues to ask now, in order, and those to ask in case that was not enough.

        Asked are, up to where there should be enough, those that are not known to be empty; while some are known to
        have tasks, not many at once, since each of them costs Redis something. All are asked where nothing is known.
        """
        if len(order) == 1:
            return order, ()
        since = self._clock.monotonic() - EMPTY_FOR
        first: list[str] = []
        skipped: list[str] = []
        expected = 0
        for at, queue in enumerate(order):
            if expected >= want or (len(first) >= FEW and self._left):
                return first, [*skipped, *order[at:]]
            if self._empty_at.get(queue, 0.0) > since:
                skipped.append(queue)
            else:
                first.append(queue)
                expected += self._left.get(queue, 0)
        return (first, skipped) if self._left else (order, ())

    def note(self, looked_at: Sequence[str], left: int) -> None:
        """A claim looked at these queues: it emptied all but the last, where so many tasks are left."""
        if not looked_at:
            return
        now = self._clock.monotonic()
        for queue in looked_at[:-1]:
            self._empty_at[queue] = now
            self._left.pop(queue, None)
        last = looked_at[-1]
        if left > 0:
            self._left[last] = left
            self._empty_at.pop(last, None)
        else:
            self._empty_at[last] = now
            self._left.pop(last, None)
