"""How a worker is doing, in a line."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from runqy_worker.app.condition import WorkerCondition
from runqy_worker.config.model import Config, RedisConfig, WorkerConfig
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.events import Notice
from runqy_worker.domain.ports import ExecutorHealth, ExecutorState
from runqy_worker.engine.engine import EngineState
from runqy_worker.service.probes import Standing
from runqy_worker.service.pulse import Phase
from runqy_worker.telemetry.counts import Counts


@dataclass
class FakeEngine:
    state: EngineState = EngineState.RUNNING
    is_cut_off: bool = False
    silent_for: float = 0.0

    def silence(self) -> float:
        return self.silent_for


@dataclass
class FakeRelease:
    name: str = "3f2c1ab9d4e2-0a1b2c3d"


@dataclass
class FakeLane:
    parent: str = "inference"
    engine: FakeEngine | None = field(default_factory=FakeEngine)
    release: FakeRelease | None = field(default_factory=FakeRelease)
    executor: ExecutorHealth = field(default_factory=lambda: ExecutorHealth(ExecutorState.READY))
    tasks: int = 3
    stopping: bool = False
    degraded: asyncio.Event = field(default_factory=asyncio.Event)
    quiet_for: float = float("inf")

    @property
    def ready(self) -> bool:
        return self.engine is not None

    def running(self) -> list[int]:
        return [0] * self.tasks

    def health(self) -> ExecutorHealth:
        return self.executor

    def work_is_quiet_for(self) -> float:
        return self.quiet_for


def condition(*lanes: Any) -> WorkerCondition:
    config = Config(worker=WorkerConfig(concurrency=4), redis=RedisConfig(connect_timeout=5, timeout=10))
    return WorkerCondition(lanes, Counts(SystemClock()), config)


def starting() -> FakeLane:
    return FakeLane(engine=None, release=None)


def test_the_line_tells_slots_counts_and_release() -> None:
    assert condition(FakeLane()).status() == "inference: running 3/4, 0 done, 0 failed, release 3f2c1ab"


def test_several_queues_share_the_counts() -> None:
    line = condition(FakeLane(), starting()).status()
    assert line == "inference: running 3/4, release 3f2c1ab; inference: starting; 0 done, 0 failed"


def test_while_it_is_not_ready_the_line_says_what_went_wrong_last() -> None:
    lane = starting()
    worker = condition(lane)
    worker.notice(Notice("registration_failed", "registering 'inference': attempt 1 of 3 failed"))
    worker.notice(Notice("bootstrap_failed", "inference: not ready, trying again in 5 s:\nno such branch"))
    worker.notice(Notice("environment_ready", "the environment is ready"))
    trouble = "inference: not ready, trying again in 5 s:\\nno such branch"
    assert worker.status() == f"inference: starting, 0 done, 0 failed; {trouble}"
    lane.engine = FakeEngine()
    assert worker.status() == "inference: running 3/4, 0 done, 0 failed"


@pytest.mark.parametrize(
    ("lane", "doing"),
    [
        (FakeLane(engine=FakeEngine(is_cut_off=True)), "running 3/4, its backend does not answer"),
        (FakeLane(engine=FakeEngine(EngineState.DRAINING)), "draining 3/4"),
        (FakeLane(engine=FakeEngine(EngineState.QUIET)), "quiet 3/4"),
        (FakeLane(executor=ExecutorHealth(ExecutorState.DEGRADED), tasks=0), "degraded 0/4"),
        (FakeLane(executor=ExecutorHealth(ExecutorState.RECOVERING), tasks=0), "recovering 0/4"),
    ],
)
def test_the_line_tells_what_keeps_it_from_running(lane: FakeLane, doing: str) -> None:
    assert condition(lane).status().startswith(f"inference: {doing}, 0 done")


def test_it_is_ready_when_every_queue_is_ready_or_degraded_and_one_is_ready() -> None:
    good, bad = FakeLane(), FakeLane()
    bad.degraded.set()
    assert condition(good, bad).is_ready()
    assert not condition(bad).is_ready()
    assert not condition(good, starting()).is_ready()


@pytest.mark.parametrize(
    ("lane", "doing"),
    [
        (FakeLane(engine=FakeEngine(is_cut_off=True)), "the backend does not answer"),
        (FakeLane(engine=FakeEngine(EngineState.DRAINING, is_cut_off=True)), "draining"),
        (FakeLane(engine=FakeEngine(EngineState.QUIET)), "quiet"),
        (FakeLane(executor=ExecutorHealth(ExecutorState.DEGRADED)), "degraded"),
        (FakeLane(executor=ExecutorHealth(ExecutorState.RECOVERING)), "recovering"),
    ],
)
def test_a_queue_that_can_run_no_tasks_says_why(lane: FakeLane, doing: str) -> None:
    good = Standing("inference", "running", able=True, begun=True)
    assert condition(FakeLane(), lane).standings() == [good, Standing("inference", doing, able=False, begun=True)]


def test_a_queue_at_its_start_was_never_ready() -> None:
    (standing,) = condition(starting()).standings()
    assert standing == Standing("inference", "starting", able=False, begun=False)


def test_its_phase_follows_its_queues() -> None:
    assert condition(FakeLane(), starting()).phase() is Phase.STARTING
    assert condition(FakeLane(), FakeLane()).phase() is Phase.SERVING
    assert condition(FakeLane(stopping=True), FakeLane()).phase() is Phase.SERVING
    assert condition(FakeLane(stopping=True)).phase() is Phase.STOPPING


def test_a_claim_loop_stands_still_only_after_what_redis_may_take_for_its_answers() -> None:
    lane = FakeLane(engine=FakeEngine(silent_for=65))
    assert condition(lane).stall() == ""
    lane.engine = FakeEngine(silent_for=75)
    assert condition(lane, FakeLane()).stall() == "the claim loop of inference has stood still for 75 s"


def test_a_fault_of_the_supervision_is_a_stall() -> None:
    lane = FakeLane(executor=ExecutorHealth(ExecutorState.DEGRADED, fault="KeyError('x')"))
    assert condition(lane).stall() == "the process of inference is not supervised: KeyError('x')"


def test_work_is_as_quiet_as_the_busiest_queue() -> None:
    assert condition(FakeLane(quiet_for=40), FakeLane(quiet_for=2)).work_is_quiet_for() == 2
