"""How often values of which size came: counts per bucket, as cheap as that can be."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Histogram:
    """Counts values by the first bound that they do not exceed. For one thread.

    Args:
        bounds: Upper bounds of the buckets, ascending; what exceeds all of them has a bucket of its own.

    Attributes:
        counts: Values per bucket, one more than there are bounds.
        sum: Of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def copy(self) -> Histogram:
        """What was counted so far."""
        same = Histogram(self.bounds)
        same.counts, same.sum = self.counts.copy(), self.sum
        return same
