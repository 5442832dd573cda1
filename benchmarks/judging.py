"""Whether a ratio was lost, from noisy rounds: no single moment decides, and unclear cases are measured further."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOSS = 0.25
"""The share of a committed ratio that may be lost at most."""
_SURE_KEPT, _SURE_LOST = 0.05, 0.01
"""How unlikely the rounds must be, were it otherwise; a false alarm is worse than another round."""
_ENOUGH = 5
"""Undisturbed rounds from which a median may decide."""


class Verdict(Enum):
    """What the rounds say."""

    KEPT = "kept"
    LOST = "LOST"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Judgement:
    """One ratio, now and as committed; larger is better.

    Attributes:
        name: What is compared.
        committed: The median of the committed rounds.
        now: The median of this run's undisturbed rounds; of all, when there are none.
        rounds: How many these are.
        verdict: What follows.
    """

    name: str
    committed: float
    now: float
    rounds: int
    verdict: Verdict

    @property
    def change(self) -> float:
        """-0.3 for a loss of 30 %."""
        return self.now / self.committed - 1


class Rounds:
    """Ratios by name, round by round, and which rounds were disturbed by other programs.

    Attributes:
        quiet: How many were not.
    """

    def __init__(self) -> None:
        self.quiet = 0
        self._ratios: dict[str, list[tuple[float, bool]]] = {}

    def add(self, ratios: Mapping[str, float], quiet: bool) -> None:
        """Take up one round."""
        self.quiet += quiet
        for name, ratio in ratios.items():
            self._ratios.setdefault(name, []).append((ratio, quiet))

    @property
    def names(self) -> list[str]:
        """What is measured."""
        return list(self._ratios)

    def all(self, name: str) -> list[float]:
        """One ratio in every round."""
        return [ratio for ratio, _ in self._ratios[name]]

    def undisturbed(self, name: str) -> list[float]:
        """One ratio in the rounds that were not disturbed."""
        return [ratio for ratio, quiet in self._ratios[name] if quiet]

    def best(self, name: str, count: int) -> list[float]:
        """`count` rounds of one ratio: undisturbed ones, and others only where there are too few of these."""
        undisturbed_first = sorted(self._ratios[name], key=lambda pair: not pair[1])
        return [ratio for ratio, _ in undisturbed_first[:count]]


def judge(name: str, committed: Sequence[float], rounds: Rounds, *, final: bool = False) -> Judgement:
    """Compare by a sign test: how many rounds lie below what may be lost at most?

    Were the true ratio exactly at that limit, half of the rounds would lie below it. Too few or too many of them there
    make the verdict: five rounds on the good side suffice; on the bad side seven, none of them disturbed.

    Args:
        name: What is compared.
        committed: Its ratio in each committed round.
        rounds: Those so far.
        final: No more follow: an unclear case is decided by the median of the undisturbed ones, if there are enough.
    """
    now, undisturbed = rounds.all(name), rounds.undisturbed(name)
    usual = statistics.median(committed)
    limit = usual * (1 - LOSS)
    verdict = Verdict.UNCLEAR
    if _tail(len(now), _below(now, limit)) <= _SURE_KEPT:
        verdict = Verdict.KEPT
    elif _tail(len(undisturbed), len(undisturbed) - _below(undisturbed, limit)) <= _SURE_LOST:
        verdict = Verdict.LOST
    elif final and len(undisturbed) >= _ENOUGH:
        verdict = Verdict.LOST if statistics.median(undisturbed) < limit else Verdict.KEPT
    return Judgement(name, usual, statistics.median(undisturbed or now), len(now), verdict)


def judge_all(committed: Mapping[str, Sequence[float]], rounds: Rounds, *, final: bool = False) -> list[Judgement]:
    """One judgement for each ratio that is measured.

    Raises:
        KeyError: A ratio is not among the committed ones; says how to measure them anew.
    """
    missing = [name for name in rounds.names if name not in committed]
    if missing:
        raise KeyError(f"not among the committed ratios: {', '.join(missing)}. `make bench` measures them anew.")
    return [judge(name, committed[name], rounds, final=final) for name in rounds.names]


def table(judgements: Sequence[Judgement]) -> str:
    """For the terminal."""
    width = max(len(judgement.name) for judgement in judgements)
    lines = [f"{'ratio':{width}}  committed     now  change  rounds  verdict"]
    for one in judgements:
        figures = f"{one.committed:9.2f}  {one.now:6.2f}  {one.change:+6.0%}  {one.rounds:6}"
        lines.append(f"{one.name:{width}}  {figures}  {one.verdict.value}")
    return "\n".join(lines)


def _below(ratios: Sequence[float], limit: float) -> int:
    return sum(ratio < limit for ratio in ratios)


def _tail(count: int, most: int) -> float:
    """How likely a fair coin shows heads at most `most` times in `count` throws."""
    return sum(math.comb(count, heads) for heads in range(most + 1)) / 2.0**count
