"""Settling: each outcome, counts, tokens, and that repeating does no harm."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from conformance.backend_harness import Harness

FAR = time.time() + 10**9


async def test_a_completed_task_without_retention_is_deleted(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    assert await backend.settle([Settlement(task, Action.COMPLETE, result=b"1")]) == [True]
    assert harness.look("jobs.a", task_id).state == "deleted"
    assert harness.held("jobs.a") == 0
    assert harness.counts("jobs.a") == (1, 0)


async def test_a_completed_task_with_retention_is_kept_with_its_result(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a", retention=60)
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.COMPLETE, result=b'{"n": 1}')])
    seen = harness.look("jobs.a", task_id)
    assert (seen.state, seen.result) == ("completed", b'{"n": 1}')


async def test_results_are_not_written_when_storing_is_off(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a", retention=60)
    backend = await harness.backend("jobs.a", store_result=False)
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.COMPLETE, result=b'{"n": 1}')])
    seen = harness.look("jobs.a", task_id)
    assert (seen.state, seen.result) == ("completed", None)


async def test_a_retry_waits_for_its_time(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.RETRY, error="boom", retry_at=FAR)])
    seen = harness.look("jobs.a", task_id)
    assert (seen.state, seen.retried, seen.error) == ("retry", 1, "boom")
    assert await backend.claim(1) == []
    assert harness.counts("jobs.a") == (1, 1)


async def test_a_retry_that_is_due_is_claimable_at_once(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.RETRY, error="boom", retry_at=0, death=True)])
    [again] = await backend.claim(1)
    assert (again.id, again.retried, again.deaths) == (task_id, 1, 1)
    assert again.token != task.token


async def test_an_uncounted_retry_spends_no_attempt(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.RETRY, error="later", retry_at=FAR, counted=False)])
    seen = harness.look("jobs.a", task_id)
    assert (seen.state, seen.retried, seen.error) == ("retry", 0, "later")
    assert harness.counts("jobs.a") == (0, 0)


async def test_an_archived_task_is_kept_with_its_error(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.ARCHIVE, error="no \ud83d way")])
    seen = harness.look("jobs.a", task_id)
    assert seen.state == "archived"
    assert seen.error.startswith("no ")
    assert harness.counts("jobs.a") == (1, 1)


async def test_a_revoked_task_is_deleted_even_with_retention(harness: Harness) -> None:
    task_id = harness.enqueue("jobs.a", retention=60)
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.DISCARD)])
    assert harness.look("jobs.a", task_id).state == "deleted"
    assert harness.counts("jobs.a") == (1, 0)


async def test_released_tasks_go_to_the_front_in_their_order_uncharged(harness: Harness) -> None:
    ids = [harness.enqueue("jobs.a") for _ in range(5)]
    backend = await harness.backend("jobs.a")
    tasks = await backend.claim(3)
    assert await backend.settle([Settlement(task, Action.RELEASE) for task in tasks]) == [True] * 3
    assert harness.line("jobs.a") == ids
    assert harness.look("jobs.a", ids[0]).retried == 0
    assert harness.counts("jobs.a") == (0, 0)
    assert [task.id for task in await backend.claim(5)] == ids


async def test_an_interrupted_task_remembers_its_reruns_and_deaths(harness: Harness) -> None:
    harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    for reruns in range(3):
        [task] = await backend.claim(1)
        assert task.reruns == reruns
        await backend.settle([Settlement(task, Action.RELEASE, rerun=True)])
    for deaths in range(2):
        [task] = await backend.claim(1)
        assert (task.deaths, task.reruns) == (deaths, 3)
        await backend.settle([Settlement(task, Action.RETRY, death=True)])


async def test_repeating_a_settlement_changes_nothing(harness: Harness) -> None:
    ids = [harness.enqueue("jobs.a", retention=60) for _ in range(4)]
    backend = await harness.backend("jobs.a")
    tasks = await backend.claim(4)
    batch = [
        Settlement(tasks[0], Action.COMPLETE, result=b"{}"),
        Settlement(tasks[1], Action.RETRY, error="x", retry_at=FAR),
        Settlement(tasks[2], Action.ARCHIVE, error="y"),
        Settlement(tasks[3], Action.RELEASE),
    ]
    assert await backend.settle(batch) == [True] * 4
    counts = harness.counts("jobs.a")
    seen = [harness.look("jobs.a", task_id) for task_id in ids]
    assert await backend.settle(batch) == [False] * 4
    assert [harness.look("jobs.a", task_id) for task_id in ids] == seen
    assert [task.state for task in seen] == ["completed", "retry", "archived", "pending"]
    assert harness.counts("jobs.a") == counts
    assert harness.line("jobs.a") == [ids[3]]


async def test_the_same_task_twice_in_a_batch_is_settled_once(harness: Harness) -> None:
    harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    [task] = await backend.claim(1)
    batch = [Settlement(task, Action.DISCARD), Settlement(task, Action.RELEASE)]
    assert await backend.settle(batch) == [True, False]
    assert harness.line("jobs.a") == []


async def test_a_batch_over_several_queues_is_answered_in_its_order(harness: Harness) -> None:
    for number in range(6):
        harness.enqueue(f"jobs.{'ab'[number % 2]}")
    backend = await harness.backend("jobs.a", "jobs.b")
    tasks = await backend.claim(6)
    await backend.settle([Settlement(tasks[1], Action.DISCARD), Settlement(tasks[4], Action.DISCARD)])
    order = [tasks[at] for at in (5, 1, 0, 4, 3, 2)]
    flags = await backend.settle([Settlement(task, Action.COMPLETE) for task in order])
    assert flags == [True, False, True, False, True, True]
    assert await backend.settle([]) == []


async def test_a_large_batch_is_settled_whole(harness: Harness) -> None:
    for _ in range(1300):
        harness.enqueue("jobs.a")
    backend = await harness.backend("jobs.a")
    tasks = await backend.claim(1300)
    assert len(tasks) == 1300
    assert all(await backend.renew(tasks))
    assert all(await backend.settle([Settlement(task, Action.COMPLETE) for task in tasks]))
    assert harness.held("jobs.a") == 0
    assert harness.counts("jobs.a") == (1300, 0)
