"""`make bench-check` finds a real loss, and isn't fooled by a noisy moment."""

from __future__ import annotations

import random
from itertools import count, islice
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchmarks import check
from benchmarks.judging import LOSS, Judgement, Rounds, Verdict, judge, judge_all, table

if TYPE_CHECKING:
    from collections.abc import Generator

    from benchmarks.bench import Bench

COMMITTED = [0.95, 1.02, 1.0, 0.98, 1.05]
NAME = "throughput / serial loop"


def noisy(true_ratio: float, *, noise: float, seed: int) -> list[float]:
    """Rounds whose ratio scatters around the true one."""
    rng = random.Random(seed)
    return [true_ratio * rng.uniform(1 - noise, 1 + noise) for _ in range(check.MOST_ROUNDS)]


def taken(ratios: list[float], *, name: str = NAME, disturbed: int = 0) -> Rounds:
    """These rounds, the first ones of them disturbed."""
    rounds = Rounds()
    for number, ratio in enumerate(ratios):
        rounds.add({name: ratio}, quiet=number >= disturbed)
    return rounds


def verdict_of(rounds: list[float]) -> Judgement:
    """What `compare` comes to, when these are the rounds that it can have."""
    for number in range(check.FEWEST_ROUNDS, len(rounds)):
        judgement = judge(NAME, COMMITTED, taken(rounds[:number]))
        if judgement.verdict is not Verdict.UNCLEAR:
            return judgement
    return judge(NAME, COMMITTED, taken(rounds), final=True)


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_of_thirty_percent_fails(seed: int) -> None:
    assert verdict_of(noisy(0.70, noise=0.04, seed=seed)).verdict is Verdict.LOST


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_of_forty_percent_fails_on_a_noisy_machine(seed: int) -> None:
    assert verdict_of(noisy(0.60, noise=0.3, seed=seed)).verdict is Verdict.LOST


@pytest.mark.parametrize("seed", range(20))
def test_no_loss_passes_on_a_noisy_machine(seed: int) -> None:
    assert verdict_of(noisy(1.0, noise=0.3, seed=seed)).verdict is Verdict.KEPT


def test_five_good_rounds_are_enough() -> None:
    assert judge(NAME, COMMITTED, taken([0.9] * 4)).verdict is Verdict.UNCLEAR
    assert judge(NAME, COMMITTED, taken([0.9] * 5)).verdict is Verdict.KEPT


def test_bad_rounds_must_be_seven_before_it_fails() -> None:
    assert judge(NAME, COMMITTED, taken([0.7] * 6)).verdict is Verdict.UNCLEAR
    assert judge(NAME, COMMITTED, taken([0.7] * 7)).verdict is Verdict.LOST


def test_a_noisy_moment_asks_for_more_rounds() -> None:
    moment = [0.3, 0.3, 0.9, 0.9, 0.9]
    assert judge(NAME, COMMITTED, taken(moment)).verdict is Verdict.UNCLEAR
    assert judge(NAME, COMMITTED, taken(moment + [0.9] * 6)).verdict is Verdict.KEPT


def test_when_the_rounds_are_used_up_the_median_decides() -> None:
    assert judge(NAME, COMMITTED, taken([0.8, 0.8, 0.7, 0.7, 0.8]), final=True).verdict is Verdict.KEPT
    assert judge(NAME, COMMITTED, taken([0.8, 0.7, 0.7, 0.7, 0.8]), final=True).verdict is Verdict.LOST


def test_rounds_that_others_disturbed_can_acquit_but_not_condemn() -> None:
    assert judge(NAME, COMMITTED, taken([0.9] * 5, disturbed=5)).verdict is Verdict.KEPT
    assert judge(NAME, COMMITTED, taken([0.6] * 15, disturbed=15), final=True).verdict is Verdict.UNCLEAR
    assert judge(NAME, COMMITTED, taken([0.6] * 10, disturbed=4)).verdict is Verdict.UNCLEAR
    assert judge(NAME, COMMITTED, taken([0.6] * 11, disturbed=4)).verdict is Verdict.LOST
    assert judge(NAME, COMMITTED, taken([0.6] * 10, disturbed=4), final=True).verdict is Verdict.LOST


def test_the_stored_rounds_are_undisturbed_ones_if_there_are_enough() -> None:
    assert taken([0.1, 1.0, 1.1], disturbed=1).best(NAME, 2) == [1.0, 1.1]
    assert taken([0.1, 0.2, 1.0], disturbed=2).best(NAME, 2) == [1.0, 0.1]


def test_a_gain_passes() -> None:
    assert judge(NAME, COMMITTED, taken([2.0] * 5)).verdict is Verdict.KEPT


def test_a_ratio_that_was_never_committed_is_named() -> None:
    with pytest.raises(KeyError, match=r"sub-queues.*make bench"):
        judge_all({NAME: COMMITTED}, taken([1.0], name="sub-queues"))


def test_the_table_shows_what_was_lost() -> None:
    kept = judge("latency", [0.5], taken([0.5] * 5, name="latency"))
    lost = judge("throughput", [1.0], taken([0.65] * 7, name="throughput"))
    assert [line.split() for line in table([kept, lost]).splitlines()] == [
        ["ratio", "committed", "now", "change", "rounds", "verdict"],
        ["latency", "0.50", "0.50", "+0%", "5", "kept"],
        ["throughput", "1.00", "0.65", "-35%", "7", "LOST"],
    ]
    assert pytest.approx(0.25) == LOSS


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`compare` with made-up rounds instead of measured ones; returns its judgements and how many rounds it took."""

    def compare(rounds: list[float]) -> tuple[list[Judgement], int]:
        begun = count()

        def measured(_bench: Bench) -> Generator[tuple[dict[str, float], bool]]:
            for ratio in rounds:
                next(begun)
                yield {NAME: ratio, "steady": 1.0}, True

        monkeypatch.setattr(check, "rounds", measured)
        committed = {NAME: COMMITTED, "steady": [1.0]}
        return check.compare(cast("Bench", None), committed, check.MOST_ROUNDS), next(begun)

    return compare


def test_measuring_ends_when_all_is_clear(made_up: Any) -> None:
    judgements, rounds = made_up([1.0] * 100)
    assert [one.verdict for one in judgements] == [Verdict.KEPT, Verdict.KEPT]
    assert rounds == check.FEWEST_ROUNDS


def test_measuring_goes_on_while_one_is_unclear_and_finds_the_loss(made_up: Any) -> None:
    judgements, rounds = made_up([0.7] * 100)
    assert [one.verdict for one in judgements] == [Verdict.LOST, Verdict.KEPT]
    assert rounds == 7


def test_measuring_ends_in_any_case(made_up: Any) -> None:
    alternating = list(islice((0.7 if number % 2 else 0.8 for number in count()), 100))
    judgements, rounds = made_up(alternating)
    assert judgements[0].verdict is Verdict.KEPT
    assert rounds == check.MOST_ROUNDS
