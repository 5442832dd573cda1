"""Claiming: order, batches, priorities, pauses, and whose a task is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from conformance.backend_harness import Harness


async def test_tasks_are_claimed_oldest_first_in_batches(harness: Harness) -> None:
    ids = [harness.enqueue("jobs.a") for _ in range(7)]
    backend = await harness.backend("jobs.a")
    first = await backend.claim(3)
    rest = await backend.claim(10)
    assert [task.id for task in first] == ids[:3]
    assert [task.id for task in rest] == ids[3:]
    assert await backend.claim(1) == []


async def test_a_claimed_task_carries_what_was_enqueued(harness: Harness) -> None:
    payload = b'{"text": "\xc3\xa9\\n"}'
    task_id = harness.enqueue("jobs.a", payload, type="mail:send", max_retry=7, timeout=90, deadline=2_000_000_000)
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    assert (task.id, task.type, task.payload, task.queue) == (task_id, "mail:send", payload, "jobs.a")
    assert (task.max_retry, task.retried, task.timeout, task.deadline) == (7, 0, 90, 2_000_000_000)
    assert (task.deaths, task.reruns, task.alone) == (0, 0, False)
    assert task.token
    assert task.pending_since > 0
    assert harness.look("jobs.a", task_id).state == "active"


async def test_a_claim_of_nothing_takes_nothing(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    assert await backend.claim(0) == []
    assert harness.line("jobs.a") == [task_id]


async def test_no_task_is_given_to_two_workers(harness: Harness) -> None:
    ids = {harness.enqueue("jobs.a") for _ in range(60)}
    backends = [await harness.backend("jobs.a") for _ in range(3)]
    claimed: list[str] = []
    while len(claimed) < 60:
        for tasks in await asyncio.gather(*(backend.claim(7) for backend in backends)):
            claimed += [task.id for task in tasks]
    assert len(claimed) == 60
    assert set(claimed) == ids


async def test_the_heavier_queue_is_served_first(harness: Harness) -> None:
    low = [harness.enqueue("jobs.low") for _ in range(3)]
    high = [harness.enqueue("jobs.high") for _ in range(2)]
    backend = await harness.backend("jobs.high", "jobs.low")
    assert [task.id for task in await backend.claim(4)] == [*high, *low[:2]]


async def test_a_paused_queue_is_left_alone_until_it_is_resumed(harness: Harness) -> None:
    paused = harness.enqueue("jobs.a")
    other = harness.enqueue("jobs.b")
    harness.pause("jobs.a")
    backend = await harness.backend("jobs.a", "jobs.b")
    assert [task.id for task in await backend.claim(5)] == [other]
    harness.resume("jobs.a")
    deadline = time.monotonic() + 10
    tasks = await backend.claim(5)
    while not tasks:
        assert time.monotonic() < deadline
        await asyncio.wait_for(backend.wait(), 10)
        tasks = await backend.claim(5)
    assert [task.id for task in tasks] == [paused]


async def test_recovery_and_a_new_claim_void_the_old_token(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a", retention=60)
    first = await harness.backend("jobs.a")
    second = await harness.backend("jobs.a")
    [old] = await first.claim(1)
    await harness.lapse("jobs.a")
    [new] = await second.claim(1)
    assert new.id == old.id == task_id
    assert await first.renew([old]) == [False]
    assert await first.settle([Settlement(old, Action.ARCHIVE, error="too late")]) == [False]
    assert harness.look("jobs.a", task_id).state == "active"
    assert await second.renew([new]) == [True]
    assert await second.settle([Settlement(new, Action.COMPLETE, result=b'{"by": 2}')]) == [True]
    seen = harness.look("jobs.a", task_id)
    assert (seen.state, seen.result, seen.error) == ("completed", b'{"by": 2}', "")


async def test_recovery_alone_voids_the_token_and_spends_no_attempt(harness: Harness) -> None:
    first, second = harness.enqueue("jobs.a"), harness.enqueue("jobs.a")
    third = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    tasks = await backend.claim(2)
    await harness.lapse("jobs.a")
    assert await backend.settle([Settlement(task, Action.DISCARD) for task in tasks]) == [False, False]
    line = harness.line("jobs.a")
    assert {*line[:2]} == {first, second}
    assert line[2:] == [third]
    assert harness.look("jobs.a", first).retried == 0


async def test_a_lapsed_lease_that_nobody_took_is_renewed(harness: Harness) -> None:
    harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    tasks = await backend.claim(1)
    harness.expire("jobs.a")
    assert await backend.renew(tasks) == [True]
    assert await backend.settle([Settlement(tasks[0], Action.DISCARD)]) == [True]


async def test_a_lapsed_lease_that_nobody_took_still_settles(harness: Harness) -> None:
    harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    tasks = await backend.claim(1)
    harness.expire("jobs.a")
    assert await backend.settle([Settlement(tasks[0], Action.DISCARD)]) == [True]


async def test_renewing_covers_several_queues_in_order(harness: Harness) -> None:
    harness.enqueue("jobs.a")
    harness.enqueue("jobs.b")
    harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a", "jobs.b")
    tasks = await backend.claim(3)
    await backend.settle([Settlement(tasks[1], Action.DISCARD)])
    assert await backend.renew(tasks) == [True, False, True]
    assert await backend.renew([]) == []


async def test_due_tasks_become_claimable(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a", delay=0.05)
    backend = await harness.backend("jobs.a")
    assert await backend.claim(1) == []
    await harness.chores(backend, lambda: harness.line("jobs.a") == [task_id])
    assert [task.id for task in await backend.claim(1)] == [task_id]


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry"])
async def test_a_backend_is_empty_when_nothing_waits_or_is_in_hand(harness: Harness, state: str) -> None:
    backend = await harness.backend("jobs.a", "jobs.b")
    assert await backend.is_empty()
    harness.enqueue("jobs.b", delay=900 if state == "scheduled" else 0)
    if state == "retry":
        [task] = await backend.claim(1)
        assert not await backend.is_empty()
        assert await (await harness.backend("jobs.b")).is_empty()
        await backend.settle([Settlement(task, Action.RETRY, retry_at=time.time() + 10**9, error="x")])
    assert not await backend.is_empty()
