"""The pause between attempts to bootstrap."""

from __future__ import annotations

import asyncio

import pytest

from runqy_worker.app.lane import Lane


@pytest.fixture
def lane() -> Lane:
    """Just enough of one to pause."""
    lane = Lane.__new__(Lane)
    lane._retry_now = asyncio.Event()
    return lane


async def test_it_ends_when_its_time_is_up(lane: Lane) -> None:
    await lane._pause(0.001)


async def test_a_reload_ends_it(lane: Lane) -> None:
    pause = asyncio.create_task(lane._pause(3600))
    await asyncio.sleep(0)
    lane._retry_now.set()
    await pause


@pytest.mark.parametrize("turns", range(4))
async def test_a_stop_at_the_same_moment_is_not_overheard(lane: Lane, turns: int) -> None:
    pause = asyncio.create_task(lane._pause(3600))
    await asyncio.sleep(0)
    lane._retry_now.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    asked = pause.cancel()
    await asyncio.wait([pause])
    assert pause.cancelled() is asked
