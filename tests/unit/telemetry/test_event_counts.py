"""What notices amount to."""

from __future__ import annotations

import pytest
from support.fakes import FakeClock

from runqy_worker.domain.events import Notice
from runqy_worker.domain.task import Task
from runqy_worker.telemetry.event_counts import COUNTED, EventCounts


@pytest.fixture
def events() -> EventCounts:
    return EventCounts(FakeClock(1000.0))


@pytest.mark.parametrize("action", COUNTED)
def test_some_are_counted_as_they_are(events: EventCounts, action: str) -> None:
    events.notice(Notice(action, "x"))
    events.notice(Notice(action, "x"))
    events.notice(Notice("something_else", "x"))
    assert events.times == dict.fromkeys(COUNTED, 0) | {action: 2}


def test_nothing_is_known_of_deploys_before_the_first(events: EventCounts) -> None:
    assert (events.last_deploy_failed, events.deployed_at) == (None, None)


def test_a_failed_reload_leaves_the_time_of_the_last_success(events: EventCounts) -> None:
    events.notice(Notice("ready", "x"))
    events.notice(Notice("reload_failed", "x"))
    assert events.deploys["start", "succeeded"] == 1
    assert events.deploys["reload", "failed"] == 1
    assert (events.last_deploy_failed, events.deployed_at) == (True, 1000.0)
    events.notice(Notice("reload_finished", "x"))
    assert events.last_deploy_failed is False


def test_lines_are_counted_by_stream_and_those_left_out_apart(events: EventCounts) -> None:
    events.task_output(None, "stdout", "one")
    events.task_output(None, "stderr", "two")
    events.task_output(None, "stderr", "three")
    events.notice(Notice("task_output_left_out", "x", fields={"lines": 40}))
    assert (events.lines, events.lines_left_out) == ({"stdout": 1, "stderr": 2}, 40)


def test_leases_are_counted_by_queue(events: EventCounts) -> None:
    events.notice(Notice("lease_recovered", "x", fields={"queue": "a", "count": 3, "ids": []}))
    events.notice(Notice("lease_recovered", "x", fields={"queue": "a", "count": 1, "ids": []}))
    events.notice(Notice("lease_lost", "x", task=Task("1", "t", b"", "b")))
    assert (events.recovered, events.lost) == ({"a": 4}, {"b": 1})
