"""What a stream of events looks like in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from support.fakes import FakeClock, eventually

from runqy_worker.domain.events import Level, Notice
from runqy_worker.domain.settlement import Action, Settlement
from runqy_worker.domain.task import Task
from runqy_worker.telemetry.task_log import TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.captured_log import Captured


class Timers:
    """`call_later` on a fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.pending: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> object:
        self.pending.append((self.clock.now + delay, callback))
        return None

    def advance(self, seconds: float) -> None:
        """Move the clock, running what comes due on the way."""
        until = self.clock.now + seconds
        while self.pending and self.pending[0][0] <= until:
            self.clock.now, callback = self.pending.pop(0)
            callback()
        self.clock.now = until


@pytest.fixture
def timers(clock: FakeClock) -> Timers:
    return Timers(clock)


def task_log(captured: Captured, timers: Timers, task_lines: float = 3) -> TaskLog:
    return TaskLog(captured.logger, task_lines=task_lines, clock=timers.clock, call_later=timers.call_later)


def task(task_id: str = "abc", **fields: float) -> Task:
    made = Task(task_id, "resize", b"{}", "images.high", **fields)  # type: ignore[arg-type]  # test data
    made.started_at = 1_700_000_000.0
    return made


def completed(log: TaskLog, count: int) -> None:
    for number in range(count):
        log.task_settled(Settlement(task(f"t{number}"), Action.COMPLETE), accepted=True)


def test_a_completed_task_has_a_line_with_its_duration(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers)
    timers.advance(0.25)
    log.task_settled(Settlement(task(retried=1), Action.COMPLETE), accepted=True)
    assert captured.lines == ["INFO task abc completed in 0.250 s"]
    facts = captured.records[0].__dict__
    assert (facts["action"], facts["task_id"], facts["queue"], facts["attempt"]) == (
        "task_completed",
        "abc",
        "images.high",
        2,
    )


def test_beyond_the_rate_a_second_is_told_in_one_line(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=3)
    completed(log, 412)
    assert len(captured.lines) == 3
    timers.advance(1)
    assert captured.lines[3:] == ["INFO 412 tasks completed in 1.0 s, 409 lines left out"]
    assert captured.records[3].__dict__["fields"] == {"completed": 412, "left_out": 409, "seconds": 1.0}


def test_each_second_has_a_new_allowance(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=2)
    for _ in range(3):
        completed(log, 2)
        timers.advance(1)
    assert captured.actions == ["task_completed"] * 6


def test_under_the_rate_nothing_is_summarised_and_the_timer_ends(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=5)
    completed(log, 4)
    timers.advance(10)
    assert captured.actions == ["task_completed"] * 4
    assert timers.pending == []
    completed(log, 1)
    assert captured.actions == ["task_completed"] * 5


def test_a_rate_below_one_spreads_over_several_seconds(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=0.5)
    for _ in range(4):
        completed(log, 1)
        timers.advance(1)
    assert captured.actions == ["task_completed", "tasks_completed", "task_completed", "tasks_completed"]


def test_a_rate_of_zero_leaves_summaries_only(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=0)
    completed(log, 5)
    timers.advance(1)
    assert captured.lines == ["INFO 5 tasks completed in 1.0 s, 5 lines left out"]


def test_a_suppressed_line_reads_no_clock_and_formats_nothing(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=1)
    completed(log, 1)

    class Untouchable(FakeClock):
        def time(self) -> float:
            pytest.fail("the clock was read")

        monotonic = time

    log._clock = Untouchable()
    calm = captured.logger
    log._logger = None  # type: ignore[assignment]  # any use of it would fail
    completed(log, 1000)
    log._clock, log._logger = timers.clock, calm
    timers.advance(1)
    assert captured.lines[-1] == "INFO 1001 tasks completed in 1.0 s, 1000 lines left out"


def test_flush_tells_what_the_last_second_left_out(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=1)
    completed(log, 3)
    timers.advance(0.5)
    log.flush()
    assert captured.lines[-1] == "INFO 3 tasks completed in 0.5 s, 2 lines left out"
    log.flush()
    assert len(captured.lines) == 2


def test_failures_are_always_shown(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers, task_lines=1)
    completed(log, 50)
    timers.advance(0.5)
    retry = Settlement(task(retried=1, max_retry=3), Action.RETRY, error="no memory", retry_at=timers.clock.now + 12)
    for _ in range(5):
        log.task_settled(retry, accepted=True)
    log.task_settled(Settlement(task(), Action.ARCHIVE, error="bad input"), accepted=True)
    assert captured.lines[1:] == [
        *["WARNING task abc failed after 0.500 s, retry 2 of 3 in 12 s: no memory"] * 5,
        "ERROR task abc archived: bad input",
    ]


def test_a_charged_death_and_a_rerun_are_told(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers)
    log.task_settled(Settlement(task(deaths=1), Action.ARCHIVE, error="died", death=True), accepted=True)
    log.task_settled(Settlement(task(), Action.RELEASE, error="the worker is stopping", rerun=True), accepted=True)
    assert captured.lines[1] == "DEBUG task abc given back: the worker is stopping"
    assert [record.__dict__["fields"] for record in captured.records] == [
        {"type": "resize", "deaths": 2},
        {"type": "resize", "reruns": 1},
    ]


def test_an_uncounted_retry_is_no_warning(captured: Captured, timers: Timers) -> None:
    settlement = Settlement(task(), Action.RETRY, error="try later", retry_at=timers.clock.now, counted=False)
    task_log(captured, timers).task_settled(settlement, accepted=True)
    assert captured.lines == ["INFO task abc failed after 0.000 s, retry, not counted, in 0 s: try later"]


def test_a_very_long_error_is_cut(captured: Captured, timers: Timers) -> None:
    task_log(captured, timers).task_settled(Settlement(task(), Action.ARCHIVE, error="x" * 10_000), accepted=True)
    assert captured.lines[0].endswith("xxx ... (6000 more characters)")


def test_a_lost_lease_is_a_warning_whatever_the_outcome(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers)
    log.task_settled(Settlement(task(), Action.COMPLETE), accepted=False)
    log.task_settled(Settlement(task(), Action.COMPLETE, tries=2), accepted=False)
    assert captured.lines == [
        "WARNING task abc: its lease was lost to another worker; our complete is dropped",
        "INFO task abc: its complete was sent again and found already written, or the lease lost",
    ]


def test_output_of_task_code_is_tied_to_its_task(captured: Captured, timers: Timers) -> None:
    log = task_log(captured, timers)
    log.task_output(task(), "stderr", "100 %s done")
    log.task_output(None, "stdout", "loading")
    assert captured.lines == ["INFO 100 %s done", "INFO loading"]
    assert captured.records[0].__dict__["source"] == "stderr"
    assert captured.records[0].__dict__["task_id"] == "abc"
    assert not hasattr(captured.records[1], "task_id")


def test_notices_keep_level_action_and_fields(captured: Captured, timers: Timers) -> None:
    task_log(captured, timers).notice(Notice("child_crashed", "it crashed", Level.ERROR, fields={"signal": "SIGSEGV"}))
    assert captured.lines == ["ERROR it crashed"]
    assert captured.records[0].__dict__["fields"] == {"signal": "SIGSEGV"}
    assert captured.actions == ["child_crashed"]


def test_levels_that_are_off_cost_no_record(captured: Captured, timers: Timers) -> None:
    captured.logger.setLevel(logging.ERROR)
    log = task_log(captured, timers)
    log.task_started(task())
    log.task_output(task(), "stdout", "hello")
    completed(log, 100)
    log.task_settled(Settlement(task(), Action.RELEASE), accepted=True)
    log.notice(Notice("anything", "hello"))
    assert captured.lines == []
    assert timers.pending == []


async def test_the_event_loop_closes_the_window_by_default(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runqy_worker.telemetry.task_log.WINDOW", 0.01)
    log = TaskLog(captured.logger, task_lines=1)
    completed(log, 3)
    await eventually(lambda: captured.actions[-1] == "tasks_completed")
    log.task_started(task())
    assert captured.lines[-1] == "DEBUG task abc started"
