from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from support.fakes import eventually

from runqy_worker.domain.outcome import Completed, Failed, Outcome, Revoked
from runqy_worker.domain.ports import ExecutorState

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from support.engine_bench import MakeEngine

    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task


async def test_a_task_is_claimed_run_and_settled(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.executor.end("a", Completed(b"42"))
        await eventually(bench.settled)
        (settlement,) = bench.backend.settled
        assert settlement.result == b"42"
        assert bench.listener.started == ["a"]
        assert [accepted for _, accepted in bench.listener.settled] == [True]


async def test_never_more_than_the_free_slots_are_claimed_for_long_tasks(running_engine: MakeEngine) -> None:
    async with running_engine(slots=3) as bench:
        bench.backend.add("a", "b", "c", "d", "e")
        await eventually(lambda: len(bench.executor.tasks) == 3)
        await asyncio.sleep(0.05)
        assert [task.id for task in bench.backend.pending] == ["d", "e"]


async def test_short_tasks_are_prefetched_and_each_runs_once(
    running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runqy_worker.engine.flow.PATIENCE", 60.0)  # a machine that stands still gives none back
    async with running_engine() as bench:
        bench.executor.end_after()
        ids = [f"t{n}" for n in range(2000)]
        bench.backend.add(*ids)
        await eventually(lambda: bench.settled().count((ids[-1], "COMPLETE")) == 1)
        assert bench.executor.log == ids
        assert max(bench.backend.claims) > 1


async def test_a_prefetched_task_that_cannot_start_soon_goes_back(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.executor.end_after(but="long")
        bench.backend.add(*[f"s{n}" for n in range(500)], "long", *[f"x{n}" for n in range(100)])
        await eventually(lambda: "long" in bench.executor.tasks)
        taken = {f"x{n}" for n in range(100)} - {task.id for task in bench.backend.pending}
        await eventually(lambda: {task_id for task_id, action in bench.settled() if action == "RELEASE"} >= taken)
        assert not any(task_id.startswith("x") for task_id in bench.executor.log)


async def test_nothing_is_claimed_while_the_executor_recovers(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.executor.become(ExecutorState.RECOVERING)
        await asyncio.sleep(0.01)
        bench.backend.claims.clear()
        bench.backend.add("a")
        await asyncio.sleep(0.05)
        assert bench.backend.claims == []
        bench.executor.become(ExecutorState.READY)
        await eventually(lambda: "a" in bench.executor.tasks)


async def test_a_degraded_executor_is_announced(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.executor.become(ExecutorState.DEGRADED)
        assert bench.engine.degraded.is_set()


async def test_outcomes_survive_an_outage_and_are_settled_afterwards(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.backend.down = True
        bench.executor.end("a")
        await eventually(lambda: "backend_unavailable" in bench.listener.actions())
        bench.backend.down = False
        await eventually(lambda: bench.settled() == [("a", "COMPLETE")])
        await eventually(lambda: bench.listener.actions()[-1] == "backend_back")


async def test_claiming_pauses_while_too_many_outcomes_wait_for_the_backend(
    running_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runqy_worker.engine.flow.UNSETTLED_LIMIT", 5)
    async with running_engine() as bench:
        settle, stuck = bench.backend.settle, asyncio.Event()

        async def slow(settlements: Sequence[Settlement]) -> list[bool]:
            await stuck.wait()
            return await settle(settlements)

        monkeypatch.setattr(bench.backend, "settle", slow)
        bench.executor.end_after()
        bench.backend.add(*[f"t{n}" for n in range(400)])
        await asyncio.sleep(0.1)
        assert len(bench.executor.log) < 50
        stuck.set()
        await eventually(lambda: bench.settled().count(("t399", "COMPLETE")) == 1)


async def test_the_backend_may_be_down_at_the_start(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.down = True
        await eventually(lambda: "backend_unavailable" in bench.listener.actions())
        bench.backend.down = False
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)


async def test_a_lost_lease_ends_the_work_and_drops_the_outcome(running_engine: MakeEngine) -> None:
    async with running_engine(renew_every=0.01) as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.backend.void.add("a")
        await eventually(lambda: bench.executor.abandoned == ["a"])
        assert bench.settled() == []
        assert "lease_lost" in bench.listener.actions()


async def test_leases_are_renewed_only_for_tasks_in_hand(running_engine: MakeEngine) -> None:
    async with running_engine(renew_every=0.01) as bench:
        bench.backend.add("a")
        await eventually(lambda: ["a"] in bench.backend.renewed)
        bench.executor.end("a")
        await eventually(bench.settled)
        await asyncio.sleep(0.02)
        bench.backend.renewed.clear()
        await asyncio.sleep(0.05)
        assert bench.backend.renewed == []


async def test_cancellation_reaches_the_executor(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks and bench.backend.cancel)
        assert bench.backend.cancel is not None
        bench.backend.cancel("someone-elses")
        bench.backend.cancel("a")
        await eventually(lambda: bench.settled() == [("a", "ARCHIVE")])


async def test_quiet_stops_claiming_and_resume_goes_on(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.engine.quiet()
        bench.backend.add("b")
        bench.executor.end("a")
        await asyncio.sleep(0.03)
        assert bench.executor.log == ["a"]
        bench.engine.resume()
        await eventually(lambda: "b" in bench.executor.tasks)


async def test_middleware_sees_and_changes(running_engine: MakeEngine) -> None:
    seen: list[str] = []

    class Outer:
        def before(self, task: Task) -> Outcome | None:
            seen.append(f"before {task.id}")
            return Revoked() if task.id == "skip" else None

        def after(self, task: Task, outcome: Outcome) -> Outcome:
            seen.append(f"after {task.id}")
            return outcome

    class Broken:
        def before(self, task: Task) -> Outcome | None:
            return None

        def after(self, task: Task, outcome: Outcome) -> Outcome:
            raise ValueError(task.id)

    async with running_engine(middleware=[Outer()]) as bench:
        bench.backend.add("skip", "a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.executor.end("a")
        await eventually(lambda: sorted(bench.settled()) == [("a", "COMPLETE"), ("skip", "DISCARD")])
        assert seen == ["before skip", "after skip", "before a", "after a"]
    async with running_engine(middleware=[Broken()]) as bench:
        bench.backend.add("a")
        await eventually(lambda: "a" in bench.executor.tasks)
        bench.executor.end("a")
        await eventually(lambda: bench.backend.settled)
        assert bench.backend.settled[0].error == "middleware Broken raised ValueError('a')"


async def test_a_task_past_its_deadline_is_archived_unrun(running_engine: MakeEngine) -> None:
    async with running_engine() as bench:
        bench.backend.add("late", deadline=1.0)
        await eventually(lambda: bench.settled() == [("late", "ARCHIVE")])
        assert bench.executor.log == []


async def test_a_failure_with_retries_left_is_retried_and_else_archived(running_engine: MakeEngine) -> None:
    async with running_engine(slots=3) as bench:
        bench.backend.add("again", max_retry=1)
        bench.backend.add("spent", max_retry=1, retried=1)
        bench.backend.add("never", max_retry=5)
        await eventually(lambda: len(bench.executor.tasks) == 3)
        bench.executor.end("again", Failed("boom"))
        bench.executor.end("spent", Failed("boom"))
        bench.executor.end("never", Failed("boom", retryable=False))
        await eventually(lambda: len(bench.settled()) == 3)
        assert dict(bench.settled()) == {"again": "RETRY", "spent": "ARCHIVE", "never": "ARCHIVE"}


async def test_a_task_with_deaths_to_its_name_is_to_run_alone(running_engine: MakeEngine) -> None:
    async with running_engine(slots=2) as bench:
        bench.backend.add("deadly", deaths=1)
        bench.backend.add("innocent")
        await eventually(lambda: len(bench.executor.tasks) == 2)
        assert bench.executor.tasks["deadly"].alone
        assert not bench.executor.tasks["innocent"].alone
