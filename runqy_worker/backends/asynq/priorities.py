"""In which order queues are asked for tasks."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence


class Priorities:
    """Strict: always the heaviest first. Otherwise weighted chance: a queue of weight 3 comes before one of weight 1
    in three of four draws, so that nothing starves.

    Args:
        weights: Queue name -> weight; queues of weight 0 or less are left out.
        strict: Whether heavier queues are always served first.
    """  # noqa: D205 - the two rules read best as one paragraph

    def __init__(self, weights: Mapping[str, int], *, strict: bool, rng: random.Random) -> None:
        self._weights = {queue: weight for queue, weight in weights.items() if weight > 0}
        self._names = tuple(self._weights)
        self._shares = tuple(-1 / weight for weight in self._weights.values())
        self._rng = rng
        self._fixed: tuple[str, ...] | None = None
        if strict or len(self._weights) <= 1:
            self._fixed = tuple(sorted(self._weights, key=lambda queue: (-self._weights[queue], queue)))

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that are served, in no order of importance."""
        return tuple(self._weights)

    def order(self) -> Sequence[str]:
        """Every queue once, for one claim."""
        if self._fixed is not None:
            return self._fixed
        # An exponential waiting time per queue, at the rate of its weight: the same odds as drawing lots without
        # replacement from a list that names each queue as often as its weight.
        draw = self._rng.random
        times = [log(1.0 - draw()) * share for share in self._shares]
        return [name for _, name in sorted(zip(times, self._names, strict=True))]
