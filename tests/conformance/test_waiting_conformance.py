"""Waiting: who wakes, and that nothing is held back or lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.backend_harness import Harness

PATIENCE = 15


async def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_wait_returns_at_once_when_something_is_pending(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    await asyncio.wait_for(backend.wait(), PATIENCE)
    assert [task.id for task in await backend.claim(1)] == [task_id]


async def test_a_wait_ends_when_a_task_arrives(harness: Harness) -> None:
    backend = await harness.backend("jobs.a", "jobs.b")
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.05)
    assert not wait.done()
    task_id = harness.enqueue("jobs.b")
    await asyncio.wait_for(wait, PATIENCE)
    assert [task.id for task in await backend.claim(1)] == [task_id]


async def test_one_task_wakes_exactly_one_of_many_waiters(harness: Harness) -> None:
    backends = [await harness.backend("jobs.a") for _ in range(12)]
    waits = [asyncio.ensure_future(backend.wait()) for backend in backends]
    await asyncio.sleep(0.2)
    for number in range(1, 4):
        harness.enqueue("jobs.a")
        await eventually(lambda number=number: sum(wait.done() for wait in waits) >= number)  # type: ignore[misc]
        await asyncio.sleep(0.05)
        assert sum(wait.done() for wait in waits) == number
    claimed = [await backend.claim(5) for backend, wait in zip(backends, waits, strict=True) if wait.done()]
    assert [len(tasks) for tasks in claimed] == [1, 1, 1]
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def test_a_claim_takes_more_than_the_wait_took_hold_of(harness: Harness) -> None:
    backend = await harness.backend("jobs.a")
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.05)
    ids = [harness.enqueue("jobs.a") for _ in range(4)]
    await asyncio.wait_for(wait, PATIENCE)
    tasks = await backend.claim(3)
    while len(tasks) < 3:
        tasks += await backend.claim(3 - len(tasks))
    assert [task.id for task in tasks] == ids[:3]


async def test_stop_waiting_gives_back_to_the_front_uncharged(harness: Harness) -> None:
    backend = await harness.backend("jobs.a")
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.05)
    ids = [harness.enqueue("jobs.a") for _ in range(3)]
    await asyncio.wait_for(wait, PATIENCE)
    await backend.stop_waiting()
    assert harness.line("jobs.a") == ids
    assert harness.held("jobs.a") == 0
    assert harness.look("jobs.a", ids[0]).retried == 0


async def test_after_stop_waiting_nothing_is_taken_hold_of(harness: Harness) -> None:
    backend = await harness.backend("jobs.a", "jobs.b")
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.05)
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)
    await backend.stop_waiting()
    ids = [harness.enqueue("jobs.a"), harness.enqueue("jobs.b")]
    await asyncio.sleep(0.1)
    assert [*harness.line("jobs.a"), *harness.line("jobs.b")] == ids
    assert harness.held("jobs.a") == harness.held("jobs.b") == 0
    await backend.stop_waiting()


async def test_a_cancelled_wait_loses_nothing(harness: Harness) -> None:
    backend = await harness.backend("jobs.a")
    for _ in range(20):
        wait = asyncio.ensure_future(backend.wait())
        await asyncio.sleep(0)
        task_id = harness.enqueue("jobs.a")
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        tasks = await backend.claim(1)
        while not tasks:
            await asyncio.wait_for(backend.wait(), PATIENCE)
            tasks = await backend.claim(1)
        assert [task.id for task in tasks] == [task_id]
        assert await backend.settle([Settlement(tasks[0], Action.DISCARD)]) == [True]
    assert harness.counts("jobs.a") == (20, 0)


async def test_a_surplus_goes_back_to_the_front_with_the_next_claim(harness: Harness) -> None:
    backend = await harness.backend("jobs.a", "jobs.b")
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.1)
    first = harness.enqueue("jobs.a")
    second = harness.enqueue("jobs.b")
    await asyncio.wait_for(wait, PATIENCE)
    [task] = await backend.claim(1)
    await backend.stop_waiting()
    assert task.id == first
    assert harness.line("jobs.b") == [second]
    assert harness.held("jobs.b") == 0


async def test_a_pause_is_honoured_by_a_wait_that_is_open(harness: Harness) -> None:
    backend = await harness.backend("jobs.a")
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.05)
    harness.pause("jobs.a")
    task_id = harness.enqueue("jobs.a")
    assert await backend.claim(1) == []
    await asyncio.sleep(0.1)
    assert await backend.claim(1) == []
    await eventually(lambda: harness.line("jobs.a") == [task_id])
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)


async def test_every_queue_is_heard_although_connections_are_few(harness: Harness) -> None:
    queues = [f"jobs.q{number}" for number in range(6)]
    backend = await harness.backend(*queues, wait_connections=2)
    for queue in queues:
        wait = asyncio.ensure_future(backend.wait())
        await asyncio.sleep(0.02)
        task_id = harness.enqueue(queue)
        await asyncio.wait_for(wait, PATIENCE)
        tasks = await backend.claim(1)
        while not tasks:  # a wait may end early
            await asyncio.wait_for(backend.wait(), PATIENCE)
            tasks = await backend.claim(1)
        assert [task.id for task in tasks] == [task_id]


async def test_cancellations_are_heard(harness: Harness) -> None:
    backend = await harness.backend("jobs.a")
    heard: list[str] = []
    listening = asyncio.ensure_future(backend.listen(heard.append))
    while not heard:
        harness.cancel("one")
        await asyncio.sleep(0.01)
    harness.cancel("two")
    await eventually(lambda: "two" in heard)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert listening.cancelled()
