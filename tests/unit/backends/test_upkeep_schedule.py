"""Which chore runs when."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, cast

import pytest
from support.fakes import FakeClock, Recorder

from runqy_worker.backends.asynq.upkeep import Upkeep
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from runqy_worker.backends.asynq.link import Link


class Chore:
    """Due again after `pause`; raises `error` once if there is one."""

    def __init__(self, pause: float, error: Exception | None = None) -> None:
        self.pause = pause
        self.error = error
        self.runs = 0

    async def run(self) -> float:
        self.runs += 1
        error, self.error = self.error, None
        if error is not None:
            raise error
        return self.pause


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def upkeep_of(clock: FakeClock, recorder: Recorder, *chores: Chore) -> Upkeep:
    upkeep = Upkeep(
        [],
        cast("Link", None),
        lease=LeaseConfig(),
        lifecycle=LifecycleConfig(),
        max_retry=3,
        listener=recorder,
        clock=clock,
        rng=random.Random(1),
    )
    upkeep._due_at = dict.fromkeys(chores, float("-inf"))
    return upkeep


async def test_each_chore_runs_at_its_own_time(clock: FakeClock, recorder: Recorder) -> None:
    often, rarely = Chore(1), Chore(5)
    upkeep = upkeep_of(clock, recorder, often, rarely)
    assert await upkeep.run() == 1
    assert await upkeep.run() == 1
    assert (often.runs, rarely.runs) == (1, 1)
    for _ in range(5):
        clock.advance(1)
        await upkeep.run()
    assert (often.runs, rarely.runs) == (6, 2)


async def test_a_chore_with_more_to_do_is_due_at_once(clock: FakeClock, recorder: Recorder) -> None:
    upkeep = upkeep_of(clock, recorder, Chore(0), Chore(9))
    assert await upkeep.run() == 0


async def test_a_refusal_is_told_and_tried_again_later(clock: FakeClock, recorder: Recorder) -> None:
    broken, fine = Chore(1, BackendError("WRONGTYPE")), Chore(100)
    upkeep = upkeep_of(clock, recorder, broken, fine)
    assert await upkeep.run() == 30
    assert fine.runs == 1
    assert recorder.actions() == ["chore_failed"]
    assert "WRONGTYPE" in recorder.notices[0].message
    clock.advance(30)
    assert await upkeep.run() == 1
    assert broken.runs == 2


async def test_an_outage_is_the_callers_and_leaves_the_chore_due(clock: FakeClock, recorder: Recorder) -> None:
    cut_off, fine = Chore(50, BackendUnavailableError("gone")), Chore(100)
    upkeep = upkeep_of(clock, recorder, cut_off, fine)
    with pytest.raises(BackendUnavailableError):
        await upkeep.run()
    assert await upkeep.run() == 50
    assert (cut_off.runs, fine.runs) == (2, 1)
    assert recorder.actions() == []
