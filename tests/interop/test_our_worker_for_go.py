"""Tasks that Go enqueues and our worker claims and settles, as the real inspector sees them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING

import pytest

from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from support.asynq_go import Asynq
    from support.asynq_world import World

    from runqy_worker.backends.asynq.backend import AsynqBackend
    from runqy_worker.domain.task import Task

pytestmark = pytest.mark.interop


async def claim(backend: AsynqBackend) -> Task:
    (task,) = await backend.claim(1)
    return task


async def test_a_completed_task_shows_its_result_for_its_retention(
    asynq: Asynq, backend: AsynqBackend, world: World
) -> None:
    asynq("enqueue", "--id", "a", "--payload", '{"n":1}', "--retention", "1h", "--timeout", "90s", "--header", "k=v")
    task = await claim(backend)
    assert (task.id, task.type, task.payload, task.timeout, task.max_retry) == ("a", "work", b'{"n":1}', 90, 25)
    assert asynq("task", "--id", "a")["state"] == "active"
    assert [each["is_orphaned"] for each in asynq("list", "--state", "active")] == [False]
    assert await backend.settle([Settlement(task, Action.COMPLETE, result=b'{"y":2}')]) == [True]
    seen = asynq("task", "--id", "a")
    assert (seen["state"], seen["result"], seen["retention"], seen["headers"]) == (
        "completed",
        '{"y":2}',
        3600,
        {"k": "v"},
    )
    assert abs(seen["completed_at"] - time.time()) < 10
    assert [each["id"] for each in asynq("list", "--state", "completed")] == ["a"]
    figures = asynq("queue")
    assert (figures["processed"], figures["failed"], figures["active"], figures["completed"]) == (1, 0, 0, 1)
    assert not world.db.exists(world.keys.lease)


async def test_a_task_without_retention_is_gone_when_it_completes(asynq: Asynq, backend: AsynqBackend) -> None:
    asynq("enqueue", "--id", "a")
    await backend.settle([Settlement(await claim(backend), Action.COMPLETE)])
    assert asynq("queue")["size"] == 0
    with pytest.raises(Exception, match="not found"):
        asynq("task", "--id", "a")


async def test_a_failed_task_shows_its_error_and_keeps_everything_else(asynq: Asynq, backend: AsynqBackend) -> None:
    deadline = int(time.time()) + 9999
    asynq(
        "enqueue", "--id", "a", "--retention", "1h", "--deadline", str(deadline), "--max-retry", "5", "--header", "k=v"
    )
    before = asynq("task", "--id", "a")
    task = await claim(backend)
    retry_at = time.time() + 100
    await backend.settle([Settlement(task, Action.RETRY, error="boom", retry_at=retry_at)])
    seen = asynq("task", "--id", "a")
    assert (seen["state"], seen["retried"], seen["last_err"]) == ("retry", 1, "boom")
    assert abs(seen["next_process_at"] - retry_at) <= 1
    assert abs(seen["last_failed_at"] - time.time()) < 10
    changing = ("state", "retried", "last_err", "next_process_at", "last_failed_at")
    assert {key: value for key, value in seen.items() if key not in changing} == {
        key: value for key, value in before.items() if key not in changing
    }
    figures = asynq("queue")
    assert (figures["processed"], figures["failed"], figures["retry"]) == (1, 1, 1)


async def test_go_runs_what_our_worker_retried(asynq: Asynq, backend: AsynqBackend) -> None:
    asynq("enqueue", "--id", "a", "--retention", "1h", "--payload", '{"result":"from go"}', "--header", "k=v")
    await backend.settle([Settlement(await claim(backend), Action.RETRY, error="boom", retry_at=time.time() + 100)])
    asynq("run", "--id", "a")
    (attempt,) = asynq.process(1)
    assert (attempt["id"], attempt["retried"], attempt["headers"]) == ("a", 1, {"k": "v"})
    seen = asynq("task", "--id", "a")
    assert (seen["state"], seen["result"], seen["retried"]) == ("completed", "from go", 1)


async def test_an_archived_task_is_listed_and_can_be_run_again_by_go(asynq: Asynq, backend: AsynqBackend) -> None:
    asynq("enqueue", "--id", "a")
    await backend.settle([Settlement(await claim(backend), Action.ARCHIVE, error="broken for good")])
    (seen,) = asynq("list", "--state", "archived")
    assert (seen["state"], seen["last_err"]) == ("archived", "broken for good")
    asynq("run", "--id", "a")
    task = await claim(backend)
    assert task.id == "a"
    await backend.settle([Settlement(task, Action.DISCARD)])
    assert asynq("queue")["size"] == 0


async def test_a_released_task_is_next_in_line_for_go(asynq: Asynq, backend: AsynqBackend) -> None:
    asynq("enqueue", "--count", "3")
    first = asynq("list")[0]["id"]
    task = await claim(backend)
    assert task.id == first
    await backend.settle([Settlement(task, Action.RELEASE)])
    assert asynq("list")[0]["id"] == first
    assert [attempt["retried"] for attempt in asynq.process(3)] == [0, 0, 0]


@pytest.mark.parametrize("action", [Action.COMPLETE, Action.DISCARD])
async def test_the_unique_lock_is_released_when_the_task_ends(
    asynq: Asynq, backend: AsynqBackend, world: World, action: Action
) -> None:
    asynq("enqueue", "--id", "a", "--unique", "1h")
    digest = hashlib.md5(b"{}", usedforsecurity=False).hexdigest()
    assert world.db.get(f"{world.keys.prefix}unique:work:{digest}") == "a"
    with pytest.raises(Exception, match="already exists"):
        asynq("enqueue", "--id", "b", "--unique", "1h")
    await backend.settle([Settlement(await claim(backend), action)])
    assert asynq("enqueue", "--id", "b", "--unique", "1h")[0]["id"] == "b"


async def test_gos_pause_is_honoured(asynq: Asynq, backend: AsynqBackend) -> None:
    asynq("enqueue")
    asynq("pause")
    assert await backend.claim(1) == []
    asynq("unpause")
    deadline = time.monotonic() + 10
    while not await backend.claim(1):  # a paused queue is looked at about every second
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_gos_cancellation_is_heard(asynq: Asynq, backend: AsynqBackend) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(backend.listen(heard.put_nowait))

    async def cancel_until_heard() -> str:
        while True:
            await asyncio.to_thread(asynq, "cancel", "--id", "a")
            try:
                return await asyncio.wait_for(heard.get(), 0.2)
            except TimeoutError:
                continue

    assert await asyncio.wait_for(cancel_until_heard(), 20) == "a"
    listening.cancel()
    await asyncio.wait([listening])


async def test_scheduled_and_grouped_tasks_of_go_are_forwarded(
    asynq: Asynq, backend: AsynqBackend, world: World
) -> None:
    asynq("enqueue", "--id", "a", "--in", "1h", "--unique", "2h")
    asynq("enqueue", "--id", "g", "--group", "mail")
    world.db.zadd(world.keys.scheduled, {"a": 1})
    await backend.upkeep()
    assert [task["id"] for task in asynq("list")] == ["a"]
    assert asynq("queue")["latency"] < 10
    assert [task["id"] for task in asynq("list", "--state", "group=mail")] == ["g"]
    world.db.zrem(world.keys.group("mail"), "g")
    world.db.srem(world.keys.groups, "mail")
    world.db.hset(world.keys.task("g"), "state", "retry")
    world.db.zadd(world.keys.retry, {"g": 1})
    await asyncio.sleep(await backend.upkeep())
    deadline = time.monotonic() + 10
    while not world.db.exists(world.keys.groups):
        assert time.monotonic() < deadline
        await asyncio.sleep(min(await backend.upkeep(), 0.1))
    (waiting,) = asynq("list", "--state", "group=mail")
    assert (waiting["id"], waiting["state"], waiting["group"]) == ("g", "aggregating", "mail")
    assert (asynq("queue")["groups"], asynq("queue")["aggregating"]) == (1, 1)


async def test_our_completed_tasks_can_be_deleted_and_are_purged(
    asynq: Asynq, backend: AsynqBackend, world: World
) -> None:
    for name in ("a", "b"):
        asynq("enqueue", "--id", name, "--retention", "1h")
        await backend.settle([Settlement(await claim(backend), Action.COMPLETE, result=b"1")])
    asynq("delete", "--id", "a")
    assert [task["id"] for task in asynq("list", "--state", "completed")] == ["b"]
    world.db.zadd(world.keys.completed, {"b": 1})
    await backend.upkeep()
    assert asynq("queue")["size"] == 0
    assert list(world.db.scan_iter("*:t:*")) == []
