"""What a measurement yields: figures with a reference beside them, and what they must reach."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Target:
    """A limit that a figure must keep to.

    Attributes:
        limit: The limit itself.
        most: It is the most that is allowed; else the least.
        of_ratio: It is about the figure divided by its reference; else about the figure.
    """

    limit: float
    most: bool = False
    of_ratio: bool = True


def at_least(ratio: float) -> Target:
    """The figure must reach this share of its reference."""
    return Target(ratio)


def at_most(value: float) -> Target:
    """The figure must not exceed this."""
    return Target(value, most=True, of_ratio=False)


def ratio_at_most(ratio: float) -> Target:
    """The figure must not exceed its reference by more than this factor."""
    return Target(ratio, most=True)


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        family: The family that measured it.
        name: What it is.
        unit: `tasks/s`, `ms`, `MiB`...
        rounds: What each repetition gave; the figure is their median.
        reference: What each repetition gave for what it is compared with; empty without a reference.
        reference_name: What that is.
        target: What must be reached; None for a figure that only informs.
        value: The median of `rounds`, unless it was given.
    """

    family: str
    name: str
    unit: str
    rounds: Sequence[float]
    reference: Sequence[float] = ()
    reference_name: str = ""
    target: Target | None = None
    value: float = field(default=float("nan"))

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            object.__setattr__(self, "value", statistics.median(self.rounds))

    @property
    def reference_value(self) -> float | None:
        """The median of what it is compared with."""
        return statistics.median(self.reference) if self.reference else None

    @property
    def ratio(self) -> float | None:
        """The figure divided by its reference."""
        reference = self.reference_value
        return self.value / reference if reference else None

    @property
    def met(self) -> bool | None:
        """Whether it keeps to its target; None when it has none."""
        if self.target is None:
            return None
        what = self.ratio if self.target.of_ratio else self.value
        if what is None:
            return None
        return what <= self.target.limit if self.target.most else what >= self.target.limit

    def as_json(self) -> dict[str, Any]:
        """For the results file: everything, with the figures derived from it beside."""
        derived = {"reference_value": self.reference_value, "ratio": self.ratio, "met": self.met}
        return {**asdict(self), **derived}


def from_json(document: dict[str, Any]) -> Figure:
    """The figure that `as_json` wrote."""
    names = ("family", "name", "unit", "rounds", "reference", "reference_name", "value")
    target = document["target"]
    return Figure(**{name: document[name] for name in names}, target=Target(**target) if target else None)


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample that this share of them does not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, min(len(ordered) - 1, math.ceil(len(ordered) * share) - 1))]
