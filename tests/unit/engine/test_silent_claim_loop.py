"""Whether somebody who watches the claim loop can tell that it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.fakes import eventually

if TYPE_CHECKING:
    from support.engine_bench import MakeEngine

    from runqy_worker.domain.task import Task

LONG = 0.3
"""Seconds, of which the loops here turn many times."""


@pytest.fixture(autouse=True)
def quick_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runqy_worker.engine.fetching.TURN", 0.01)


async def goes_on(running_engine: MakeEngine, *, down: bool = False, busy: bool = False) -> None:
    """Pass if the loop still turns after a time in which it would have fallen silent."""
    async with running_engine() as bench:
        if busy:
            bench.backend.add("long")
            await eventually(lambda: "long" in bench.executor.tasks)
        bench.backend.down = down
        await asyncio.sleep(LONG)
        await eventually(lambda: bench.engine.silence() < LONG / 2)


async def test_an_idle_worker_is_not_silent(running_engine: MakeEngine) -> None:
    await goes_on(running_engine)


async def test_a_busy_worker_is_not_silent(running_engine: MakeEngine) -> None:
    await goes_on(running_engine, busy=True)


async def test_a_worker_whose_backend_is_away_is_not_silent(
    running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runqy_worker.engine.outages.LONGEST_DELAY", 0.02)
    await goes_on(running_engine, down=True)


async def test_a_claim_that_never_returns_is_silence(
    running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_engine() as bench:
        stuck, really_claim = asyncio.Event(), bench.backend.claim

        async def claim(want: int) -> list[Task]:
            await stuck.wait()
            return await really_claim(want)

        monkeypatch.setattr(bench.backend, "claim", claim)
        bench.backend.add("a")
        await eventually(lambda: bench.engine.silence() > LONG)
        stuck.set()
        await eventually(lambda: bench.engine.silence() < LONG)


async def test_nobody_is_silent_before_it_began_and_after_it_ended(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        assert bench.engine.silence() == 0
    assert bench.engine.silence() == 0
