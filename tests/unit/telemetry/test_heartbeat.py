"""Beats, outages and leaving."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.fakes import FakeClock, Recorder, eventually

from runqy_worker.domain.errors import BackendError, BackendUnavailableError
from runqy_worker.domain.registry import LogLine, WorkerSnapshot
from runqy_worker.telemetry.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryRegistry:
    """Remembers beats."""

    def __init__(self) -> None:
        self.beats: list[tuple[WorkerSnapshot, list[str]]] = []
        self.left: list[str] = []
        self.attempts = 0
        self.error: BackendError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def beat(self, snapshot: WorkerSnapshot, lines: Sequence[LogLine]) -> None:
        self.attempts += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        self.beats.append((snapshot, [line.text for line in lines]))

    async def leave(self, worker_id: str) -> None:
        if self.error:
            raise self.error
        self.left.append(worker_id)


class Lines:
    """New log lines, as the test says."""

    def __init__(self) -> None:
        self.new: list[str] = []

    def drain(self) -> list[LogLine]:
        lines = [LogLine(0, "worker", text, 0) for text in self.new]
        self.new = []
        return lines


def snapshot() -> WorkerSnapshot:
    return WorkerSnapshot(
        worker_id="host:1:cafe0001",
        host="host",
        pid=1,
        started_at=0,
        concurrency=1,
        queues={"q.default": 1},
        strict_priority=False,
        status="running",
        healthy=True,
    )


class Setup:
    """A heartbeat with everything around it."""

    def __init__(self, interval: float = 5.0) -> None:
        self.registry = MemoryRegistry()
        self.lines = Lines()
        self.recorder = Recorder()
        self.clock = FakeClock()
        self.heartbeat = Heartbeat(
            self.registry, snapshot, self.lines, interval=interval, listener=self.recorder, clock=self.clock
        )


async def test_the_first_beat_is_at_once_and_leaving_ends_the_loop() -> None:
    setup = Setup(interval=3600)
    running = asyncio.create_task(setup.heartbeat.run())
    await eventually(lambda: setup.registry.beats)
    await setup.heartbeat.leave()
    await asyncio.wait_for(running, 5)
    assert setup.registry.left == ["host:1:cafe0001"]
    assert len(setup.registry.beats) == 1


async def test_it_beats_again_after_the_interval() -> None:
    setup = Setup(interval=0.001)
    running = asyncio.create_task(setup.heartbeat.run())
    await eventually(lambda: len(setup.registry.beats) >= 3)
    await setup.heartbeat.leave()
    await running


async def test_new_lines_travel_with_the_beat_once() -> None:
    setup = Setup()
    setup.lines.new = ["a", "b"]
    await setup.heartbeat.beat_now()
    await setup.heartbeat.beat_now()
    assert [lines for _, lines in setup.registry.beats] == [["a", "b"], []]


async def test_an_outage_is_told_once_and_its_lines_arrive_afterwards() -> None:
    setup = Setup()
    setup.registry.error = BackendUnavailableError("connection refused")
    for text in ("a", "b", "c"):
        setup.lines.new = [text]
        assert not await setup.heartbeat.beat_now()
        setup.clock.advance(5)
    assert setup.recorder.actions() == ["heartbeat_failed"]
    assert setup.heartbeat.last_beat == 0
    setup.registry.error = None
    assert await setup.heartbeat.beat_now()
    assert setup.registry.beats[0][1] == ["a", "b", "c"]
    assert setup.recorder.actions() == ["heartbeat_failed", "heartbeat_resumed"]
    assert "15 s" in setup.recorder.notices[1].message
    assert setup.heartbeat.last_beat == setup.clock.now
    setup.registry.error = BackendUnavailableError("again")
    await setup.heartbeat.beat_now()
    assert setup.recorder.actions()[2:] == ["heartbeat_failed"]


async def test_the_loop_survives_outages_and_refusals() -> None:
    setup = Setup(interval=0.001)
    setup.registry.error = BackendError("WRONGTYPE")
    running = asyncio.create_task(setup.heartbeat.run())
    await eventually(lambda: setup.registry.attempts >= 3)
    setup.registry.error = None
    await eventually(lambda: setup.registry.beats)
    await setup.heartbeat.leave()
    await running


async def test_lines_of_a_long_outage_are_bounded() -> None:
    setup = Setup()
    setup.registry.error = BackendUnavailableError("down")
    for start in range(0, 1000, 100):
        setup.lines.new = [str(start + number) for number in range(100)]
        await setup.heartbeat.beat_now()
    setup.registry.error = None
    await setup.heartbeat.beat_now()
    lines = setup.registry.beats[0][1]
    assert (len(lines), lines[0], lines[-1]) == (500, "500", "999")


async def test_leaving_without_a_registry_is_told_and_does_not_fail() -> None:
    setup = Setup()
    setup.registry.error = BackendUnavailableError("down")
    await setup.heartbeat.leave()
    assert setup.recorder.actions() == ["heartbeat_leave_failed"]


async def test_nothing_is_written_after_leaving() -> None:
    setup = Setup()
    await setup.heartbeat.leave()
    assert not await setup.heartbeat.beat_now()
    assert setup.registry.beats == []


async def test_leaving_waits_for_a_beat_under_way() -> None:
    setup = Setup()
    setup.registry.gate.clear()
    running = asyncio.create_task(setup.heartbeat.run())
    await eventually(lambda: setup.registry.attempts)
    leaving = asyncio.create_task(setup.heartbeat.leave())
    await asyncio.sleep(0)
    assert setup.registry.left == []
    setup.registry.gate.set()
    await leaving
    await running
    assert len(setup.registry.beats) == 1
    assert setup.registry.left == ["host:1:cafe0001"]


async def test_cancelling_does_not_cut_a_beat_in_the_middle() -> None:
    setup = Setup()
    setup.registry.gate.clear()
    running = asyncio.create_task(setup.heartbeat.run())
    await eventually(lambda: setup.registry.attempts)
    running.cancel()
    await asyncio.sleep(0)
    setup.registry.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(setup.registry.beats) == 1


async def test_figures_are_read_for_each_beat() -> None:
    class FakeFigures:
        def read(self) -> dict[str, object]:
            return {"cpu_percent": 12.5}

    setup = Setup()
    heartbeat = Heartbeat(setup.registry, snapshot, setup.lines, figures=FakeFigures())  # type: ignore[arg-type]  # a fake
    await heartbeat.beat_now()
    assert setup.registry.beats[0][0].metrics == {"cpu_percent": 12.5}
