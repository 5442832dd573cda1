from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.fakes import eventually

from runqy_worker.domain.settlement import Action

if TYPE_CHECKING:
    from support.engine_bench import MakeEngine


async def test_running_tasks_may_end_and_nothing_new_starts(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.engine.request_stop()
        bench.backend.add("b")
        await asyncio.sleep(0.02)
        assert bench.executor.stopped_with is None
        bench.executor.end("a")
        await eventually(lambda: bench.backend.closed)
        assert bench.settled() == [("a", "COMPLETE")]
        assert [task.id for task in bench.backend.pending] == ["b"]


async def test_leases_are_renewed_through_the_drain(running_engine: MakeEngine) -> None:
    async with running_engine(renew_every=0.01) as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.engine.request_stop()
        await asyncio.sleep(0.01)
        bench.backend.renewed.clear()
        await eventually(lambda: len(bench.backend.renewed) > 2)
        bench.executor.end("a")


async def test_a_task_that_outlasts_the_timeout_is_given_back_uncharged(running_engine: MakeEngine) -> None:
    async with running_engine(shutdown_timeout=0.02, stop_grace=7) as bench:
        bench.backend.add("a", reruns=3)
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.engine.request_stop()
        await eventually(lambda: bench.backend.closed)
        (settlement,) = bench.backend.settled
        assert settlement.action is Action.RELEASE
        assert not settlement.rerun
        assert bench.executor.stopped_with == 7


async def test_a_second_signal_hurries(running_engine: MakeEngine) -> None:
    async with running_engine(shutdown_timeout=600) as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.engine.request_stop()
        await asyncio.sleep(0.01)
        bench.engine.hurry()
        await eventually(lambda: bench.backend.closed)
        assert bench.settled() == [("a", "RELEASE")]


async def test_outcomes_that_cannot_be_written_are_named_in_the_end(
    running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runqy_worker.engine.engine.SETTLE_PATIENCE", 0.05)
    async with running_engine() as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.backend.down = True
        bench.executor.end("a")
        bench.engine.request_stop()
        await eventually(lambda: bench.backend.closed)
        assert "outcomes_left" in bench.listener.actions()


async def test_stopping_works_before_the_backend_was_ever_reached(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.down = True
        await eventually(lambda: bench.listener.notices)
        bench.engine.request_stop()
        await eventually(lambda: bench.backend.closed)


async def test_burst_ends_by_itself_when_the_queues_are_empty(running_engine: MakeEngine) -> None:
    async with running_engine(slots=4, burst=True) as bench:
        bench.executor.end_after(0.002)
        bench.backend.add(*[f"t{n}" for n in range(50)])
        await eventually(lambda: bench.backend.closed)
        assert [action for _, action in bench.settled()].count("COMPLETE") == 50


async def test_burst_ends_soon_after_its_last_task_also_when_it_had_slots_to_spare(
    running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runqy_worker.engine.fetching.TURN", 3600)  # nothing else reminds it
    async with running_engine(slots=2, burst=True) as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        await asyncio.sleep(0.2)
        bench.executor.end("a")
        await eventually(lambda: bench.backend.closed)


async def test_a_dead_loop_ends_the_engine_loudly(running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - leaving the block is what raises
        async with running_engine() as bench:

            async def broken(*_: object) -> list[bool]:
                raise ZeroDivisionError

            monkeypatch.setattr(bench.backend, "settle", broken)
            monkeypatch.setattr("runqy_worker.engine.engine.SETTLE_PATIENCE", 0.05)
            bench.backend.add("a")
            await eventually(lambda: "a" in bench.executor.tasks)
            bench.executor.end("a")
            await eventually(lambda: bench.backend.closed)
            assert "loop_died" in bench.listener.actions()
