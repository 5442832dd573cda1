"""What is counted per queue."""

from __future__ import annotations

import pytest
from support.fakes import FakeClock

from runqy_worker.domain.settlement import Action, Settlement
from runqy_worker.domain.task import Task
from runqy_worker.telemetry.counts import BOUNDS, Counts


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def counts(clock: FakeClock) -> Counts:
    return Counts(clock)


def started(counts: Counts, clock: FakeClock, queue: str = "a", *, waited: float = 0.0) -> Task:
    task = Task("1", "t", b"", queue, pending_since=clock.now - waited if waited else 0, claimed_at=clock.now)
    task.started_at = clock.now
    counts.task_started(task)
    return task


def bucket(seconds: float) -> int:
    return next(at for at, bound in enumerate((*BOUNDS, float("inf"))) if seconds <= bound)


def test_queues_are_told_apart_and_summed_up(counts: Counts, clock: FakeClock) -> None:
    counts.task_settled(Settlement(started(counts, clock, "a"), Action.COMPLETE), accepted=True)
    counts.task_settled(Settlement(started(counts, clock, "b"), Action.ARCHIVE, error="x"), accepted=True)
    assert counts.queues["a"].by_action[Action.COMPLETE] == 1
    assert counts.queues["b"].by_action[Action.ARCHIVE] == 1
    totals = counts.totals()
    assert (totals.started, totals.completed, totals.archived) == (2, 1, 1)


def test_waits_and_durations_fall_into_their_buckets(counts: Counts, clock: FakeClock) -> None:
    task = started(counts, clock, waited=2.0)
    clock.advance(45)
    counts.task_settled(Settlement(task, Action.RETRY), accepted=True)
    queue = counts.queues["a"]
    assert (queue.waits.counts[bucket(2.0)], sum(queue.waits.counts), queue.waits.sum) == (1, 1, 2.0)
    assert (queue.durations.counts[bucket(45)], sum(queue.durations.counts), queue.durations.sum) == (1, 1, 45.0)


def test_a_wait_that_is_not_known_is_not_counted(counts: Counts, clock: FakeClock) -> None:
    started(counts, clock)
    assert sum(counts.queues["a"].waits.counts) == 0


def test_what_is_given_back_has_no_duration(counts: Counts, clock: FakeClock) -> None:
    counts.task_settled(Settlement(started(counts, clock), Action.RELEASE), accepted=True)
    assert sum(counts.queues["a"].durations.counts) == 0


def test_an_outcome_that_was_sent_again_is_not_called_lost(counts: Counts, clock: FakeClock) -> None:
    counts.task_settled(Settlement(started(counts, clock), Action.COMPLETE, tries=1), accepted=False)
    counts.task_settled(Settlement(started(counts, clock), Action.COMPLETE, tries=2), accepted=False)
    queue = counts.queues["a"]
    assert (queue.lost, queue.repeated, queue.by_action[Action.COMPLETE]) == (1, 1, 0)
    assert counts.totals().lost == 2


def test_deaths_that_are_charged_are_counted(counts: Counts, clock: FakeClock) -> None:
    counts.task_settled(Settlement(started(counts, clock), Action.RETRY, death=True), accepted=True)
    counts.task_settled(Settlement(started(counts, clock), Action.RETRY), accepted=True)
    assert counts.queues["a"].deaths == 1


def test_nothing_was_counted_at_the_start(counts: Counts) -> None:
    assert (counts.totals().completed, counts.totals().started, dict(counts.queues)) == (0, 0, {})
