"""Figures for status, and lines for the live view."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from runqy_worker.domain.settlement import Action, Settlement
from runqy_worker.domain.task import Task
from runqy_worker.telemetry.counts import Counts
from runqy_worker.telemetry.records import emit
from runqy_worker.telemetry.tail import Tail

if TYPE_CHECKING:
    from support.captured_log import Captured
    from support.fakes import FakeClock


def run(counts: Counts, clock: FakeClock, *, wait: float, took: float, action: Action = Action.COMPLETE) -> None:
    task = Task("abc", "t", b"", "q.default", pending_since=clock.now - wait, claimed_at=clock.now)
    counts.task_started(task)
    task.started_at = clock.now
    clock.advance(took)
    counts.task_settled(Settlement(task, action, error="broken"), accepted=True)


def test_outcomes_are_counted_apart(clock: FakeClock) -> None:
    counts = Counts(clock)
    for action in (Action.COMPLETE, Action.COMPLETE, Action.RETRY, Action.ARCHIVE, Action.DISCARD, Action.RELEASE):
        run(counts, clock, wait=0, took=0, action=action)
    counts.task_settled(Settlement(Task("x", "t", b"", "q.default"), Action.COMPLETE), accepted=False)
    totals = counts.totals()
    assert (totals.started, totals.completed, totals.retried, totals.archived) == (6, 2, 1, 1)
    assert (totals.revoked, totals.released, totals.lost) == (1, 1, 1)


def test_wait_and_duration_are_moving_averages(clock: FakeClock) -> None:
    counts = Counts(clock)
    assert counts.totals().wait is None
    assert counts.totals().duration is None
    run(counts, clock, wait=2, took=4)
    assert counts.totals().wait == pytest.approx(2)
    assert counts.totals().duration == pytest.approx(4)
    for _ in range(100):
        run(counts, clock, wait=1, took=3)
    assert counts.totals().wait == pytest.approx(1, abs=0.01)
    assert counts.totals().duration == pytest.approx(3, abs=0.01)


def test_a_task_of_unknown_age_does_not_spoil_the_average(clock: FakeClock) -> None:
    counts = Counts(clock)
    counts.task_started(Task("abc", "t", b"", "q.default", claimed_at=clock.now))
    assert counts.totals().wait is None


def test_the_newest_failure_is_kept(clock: FakeClock) -> None:
    counts = Counts(clock)
    assert counts.totals().last_error is None
    run(counts, clock, wait=0, took=1, action=Action.ARCHIVE)
    assert counts.totals().as_dict()["last_error"] == {
        "task_id": "abc",
        "queue": "q.default",
        "error": "broken",
        "at": clock.now,
    }


def test_the_tail_hands_out_each_line_once_with_its_number(captured: Captured) -> None:
    tail = Tail()
    captured.logger.addHandler(tail)
    emit(captured.logger, logging.INFO, "one", action="a")
    emit(captured.logger, logging.INFO, "two", action="task_output", source="stdout")
    emit(captured.logger, logging.DEBUG, "too much detail", action="a")
    lines = tail.drain()
    assert [(line.src, line.text, line.seq) for line in lines] == [("worker", "one", 1), ("stdout", "two", 2)]
    assert lines[0].ts == int(captured.records[0].created * 1000)
    assert tail.drain() == []
    emit(captured.logger, logging.INFO, "three", action="a")
    assert [line.seq for line in tail.drain()] == [3]


def test_the_tail_keeps_the_newest_500(captured: Captured) -> None:
    tail = Tail()
    captured.logger.addHandler(tail)
    for number in range(700):
        emit(captured.logger, logging.INFO, str(number), action="a")
    lines = tail.drain()
    assert (len(lines), lines[0].seq, lines[-1].seq) == (500, 201, 700)


def test_the_tail_names_the_exception(captured: Captured) -> None:
    tail = Tail()
    captured.logger.addHandler(tail)
    try:
        int("oh no")
    except ValueError:
        captured.logger.exception("it broke")
    assert tail.drain()[0].text == "it broke: ValueError(\"invalid literal for int() with base 10: 'oh no'\")"
