"""How many claimed tasks to keep at hand, so that a free slot never waits for a round trip.

A task that waits here is a task that no idle worker can take, so the depth follows what this worker gets done in a few
milliseconds, and falls to zero as soon as a task had to wait too long.
"""

from __future__ import annotations

HORIZON = 0.010
"""Seconds of work to keep at hand."""
PATIENCE = 0.020
"""Seconds that a prefetched task may wait before it is given back."""
DEPTH_LIMIT = 512
_SMOOTHING = 0.3
_SAMPLE = 0.002


class Prefetch:
    """Watches the rate at which tasks end, and derives the depth from it."""

    __slots__ = ("_count", "_rate", "_since")

    def __init__(self) -> None:
        self._count = 0
        self._since = 0.0
        self._rate = 0.0

    def ended(self, count: int) -> None:
        """`count` more tasks ended."""
        self._count += count

    def depth(self, now: float) -> int:
        """How many tasks to keep at hand at monotonic second `now`."""
        elapsed = now - self._since
        if elapsed >= _SAMPLE:
            rate = self._count / elapsed
            weight = 1.0 if rate < self._rate / 4 else _SMOOTHING
            self._rate += (rate - self._rate) * weight
            self._count = 0
            self._since = now
        return min(int(self._rate * HORIZON), DEPTH_LIMIT)

    def reset(self, now: float) -> None:
        """A task waited too long: begin again from nothing."""
        self._count = 0
        self._rate = 0.0
        self._since = now
