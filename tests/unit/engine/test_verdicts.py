from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import FakeClock

from runqy_worker.domain.outcome import Completed, Failed, Outcome, Released, Revoked
from runqy_worker.domain.settlement import Action, Settlement
from runqy_worker.domain.task import Task
from runqy_worker.engine.retrying import Verdicts, asynq_retry_delay

NOW = 1_700_000_000.0


def settle(outcome: Outcome, *, draining: bool = False, **fields: int) -> Settlement:
    verdicts = Verdicts(retry_delay=lambda *_: 60.0, max_deaths=3, max_reruns=3, clock=FakeClock(NOW))
    task = Task("a", "t", b"", "q", **fields)  # type: ignore[arg-type]  # test data
    return verdicts.settle(task, outcome, draining=draining)


def test_success_keeps_the_result() -> None:
    settlement = settle(Completed(b"7"))
    assert (settlement.action, settlement.result) == (Action.COMPLETE, b"7")


def test_a_failure_is_retried_after_the_delay() -> None:
    settlement = settle(Failed("boom"), max_retry=3)
    assert (settlement.action, settlement.retry_at, settlement.counted) == (Action.RETRY, NOW + 60, True)


def test_revoked_is_discarded() -> None:
    assert settle(Revoked()).action is Action.DISCARD


@pytest.mark.parametrize(("deaths", "action"), [(0, Action.RETRY), (1, Action.RETRY), (2, Action.ARCHIVE)])
def test_the_third_death_archives_whatever_retries_are_left(deaths: int, action: Action) -> None:
    settlement = settle(Failed("died", death=True), max_retry=100, deaths=deaths)
    assert settlement.action is action
    assert settlement.death


def test_a_poisonous_task_is_archived_with_a_reason_that_says_so() -> None:
    assert settle(Failed("signal SIGSEGV", death=True), max_retry=100, deaths=2).error == (
        "poison: 3 process deaths charged to this task; the last: signal SIGSEGV"
    )


def test_a_task_that_never_began_is_released_free_of_charge() -> None:
    settlement = settle(Released(begun=False), reruns=99)
    assert (settlement.action, settlement.rerun) == (Action.RELEASE, False)


def test_involuntary_reruns_are_counted_and_capped() -> None:
    assert settle(Released(begun=True), reruns=2).rerun
    settlement = settle(Released(begun=True, reason="its neighbour timed out"), reruns=3, max_retry=1)
    assert settlement.action is Action.RETRY
    assert "interrupted 4 times" in settlement.error


def test_a_drain_is_held_against_nobody() -> None:
    settlement = settle(Released(begun=True), draining=True, reruns=99)
    assert (settlement.action, settlement.rerun) == (Action.RELEASE, False)


def test_what_must_not_start_is_archived_before() -> None:
    verdicts = Verdicts(retry_delay=lambda *_: 0, max_deaths=3, max_reruns=3, clock=FakeClock(NOW))
    fresh = Task("a", "t", b"", "q", deadline=NOW + 1, pending_timeout=10, pending_since=NOW - 9)
    assert verdicts.before_start(fresh) is None
    waited = verdicts.before_start(Task("a", "t", b"", "q", pending_timeout=10, pending_since=NOW - 11))
    assert waited is not None
    assert waited.error == "pending timeout: waited 11s, allowed 10s"
    late = verdicts.before_start(Task("a", "t", b"", "q", deadline=NOW))
    assert late is not None
    assert late.action is Action.ARCHIVE


@given(st.integers(0, 30), st.integers())
def test_the_default_delay_stays_within_asynqs_bounds(retried: int, seed: int) -> None:
    delay = asynq_retry_delay(random.Random(seed))(retried, "", Task("a", "t", b"", "q"))
    assert retried**4 + 15 <= delay <= retried**4 + 15 + 29 * (retried + 1)
