"""A real asynq server on the same queue: it runs what our client enqueues, and neither takes the other's tasks."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

    from support.asynq_go import Asynq
    from support.asynq_world import World

    from runqy_worker.backends.asynq.backend import AsynqBackend
    from runqy_worker.backends.asynq.client import AsynqClient

pytestmark = pytest.mark.interop

HANG = b'{"hang":true}'


async def keep_up(backend: AsynqBackend, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not until():
        assert time.monotonic() < deadline
        await asyncio.sleep(min(await backend.upkeep(), 0.05))


async def begun(server: Popen[str]) -> Any:
    """The next attempt that the Go server begins."""
    assert server.stdout is not None
    return json.loads(await asyncio.wait_for(asyncio.to_thread(server.stdout.readline), 30))


async def test_go_runs_what_our_client_enqueued(asynq: Asynq, client: AsynqClient, world: World) -> None:
    queue = world.keys.queue
    await client.enqueue(
        queue,
        b'{"result":"fine"}',
        task_id="good",
        type="kind",
        retention=60,
        headers={"b": "2", "a": "1"},
        unique_ttl=60,
        deadline=time.time() + 999,
    )
    await client.enqueue(queue, b'{"fail":"bad luck"}', task_id="bad", max_retry=2)
    await client.enqueue(queue, b'{"fail":"hopeless","skip":true}', task_id="lost")
    seen = asynq("task", "--id", "good")
    assert (seen["type"], seen["state"], seen["retention"], seen["timeout"]) == ("kind", "pending", 60, 0)
    attempts = await asyncio.to_thread(asynq.process, 3)
    assert [attempt["id"] for attempt in attempts] == ["good", "bad", "lost"]
    assert attempts[0]["headers"] == {"a": "1", "b": "2"}
    good = await client.wait_result("good", timeout=10)
    assert (good.state, good.result, good.headers) == ("completed", b"fine", {"a": "1", "b": "2"})
    assert not list(world.db.scan_iter("*unique*"))
    bad = await client.get_task("bad")
    assert (bad.state, bad.error, bad.retried, bad.max_retry) == ("retry", "bad luck", 1, 2)
    assert (await client.get_task("lost")).state == "archived"
    figures, theirs = await client.queue(queue), asynq("queue")
    for name in ("pending", "active", "retry", "archived", "completed", "processed", "failed", "paused"):
        assert getattr(figures, name) == theirs[name], name
    assert asynq("queues") == [queue]


async def test_go_forwards_what_our_client_scheduled(asynq: Asynq, client: AsynqClient, world: World) -> None:
    await client.enqueue(world.keys.queue, b"{}", task_id="a", process_in=3600, unique_ttl=60)
    assert asynq("task", "--id", "a")["state"] == "scheduled"
    world.db.zadd(world.keys.scheduled, {"a": 1})
    (attempt,) = await asyncio.to_thread(asynq.process, 1)
    assert attempt["id"] == "a"


async def test_a_grouped_task_of_our_client_waits_where_go_looks(
    asynq: Asynq, client: AsynqClient, world: World
) -> None:
    await client.enqueue(world.keys.queue, b"{}", task_id="a", group="mail")
    (task,) = asynq("list", "--state", "group=mail")
    assert (task["id"], task["group"], task["state"]) == ("a", "mail", "aggregating")
    asynq("run", "--id", "a")
    assert [task.id for task in await client.list_tasks(world.keys.queue, "pending")] == ["a"]


async def test_what_each_inspector_did_the_other_understands(asynq: Asynq, client: AsynqClient, world: World) -> None:
    queue = world.keys.queue
    for name in ("a", "b", "c"):
        await client.enqueue(queue, b"{}", task_id=name)
    asynq("archive", "--id", "a")
    assert await client.run_now("a") == "archived"
    assert asynq("task", "--id", "a")["state"] == "pending"
    await client.archive("b")
    asynq("run", "--id", "b")
    assert (await client.get_task("b")).state == "pending"
    await client.delete("c")
    with pytest.raises(Exception, match="not found"):
        asynq("task", "--id", "c")
    assert await client.pause(queue)
    with pytest.raises(Exception, match="already paused"):
        asynq("pause")
    assert asynq("queue")["paused"]
    asynq("unpause")
    assert not await client.unpause(queue)


async def test_a_task_that_go_claimed_after_us_is_no_longer_ours(
    asynq: Asynq, backend: AsynqBackend, world: World
) -> None:
    asynq("enqueue", "--id", "a", "--payload", HANG.decode())
    (task,) = await backend.claim(1)
    await keep_up(backend, lambda: world.pending() == ["a"])  # our lease ran out
    server = asynq.serve()
    assert (await begun(server))["id"] == "a"
    assert world.db.zscore(world.keys.lease, "a").is_integer()
    assert await backend.renew([task]) == [False]
    assert await backend.settle([Settlement(task, Action.COMPLETE, result=b"late")]) == [False]
    assert asynq("task", "--id", "a")["state"] == "active"
    assert world.field("a", "result") is None


async def test_a_living_go_worker_keeps_its_task(asynq: Asynq, backend: AsynqBackend, world: World) -> None:
    asynq("enqueue", "--id", "a", "--payload", HANG.decode())
    await begun(asynq.serve())
    world.put("orphan", "active")
    await keep_up(backend, lambda: world.pending() == ["orphan"])
    assert await backend.claim(2)
    assert asynq("task", "--id", "a")["state"] == "active"


async def test_a_killed_go_workers_task_is_taken_over_after_its_grace(
    asynq: Asynq, backend: AsynqBackend, world: World
) -> None:
    asynq("enqueue", "--id", "a", "--payload", HANG.decode(), "--max-retry", "1", "--header", "k=v")
    for state, retried in (("retry", 1), ("archived", 1)):
        server = asynq.serve()
        await begun(server)
        server.kill()
        server.wait(timeout=10)
        assert world.db.lrange(world.keys.active, 0, -1) == ["a"]
        world.db.zadd(world.keys.lease, {"a": int(time.time()) - 31})
        name = world.keys.prefix + state
        await keep_up(backend, lambda name=name: bool(world.db.zcard(name)))  # type: ignore[misc]  # bound per round
        seen = asynq("task", "--id", "a")
        assert (seen["state"], seen["retried"], seen["last_err"]) == (state, retried, "asynq: task lease expired")
        assert seen["headers"] == {"k": "v"}
        if state == "retry":
            assert 10 < seen["next_process_at"] - time.time() <= 45
            asynq("run", "--id", "a")
    assert (asynq("queue")["processed"], asynq("queue")["failed"]) == (2, 2)


async def test_go_recovers_a_task_of_a_worker_of_ours_that_died(
    asynq: Asynq, backend: AsynqBackend, world: World
) -> None:
    asynq("enqueue", "--id", "a")
    (task,) = await backend.claim(1)
    world.db.zadd(world.keys.lease, {"a": int(time.time()) - 31 + 0.5})
    asynq.serve()
    deadline = time.monotonic() + 15
    while asynq("task", "--id", "a")["state"] != "retry":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert asynq("task", "--id", "a")["last_err"] == "asynq: task lease expired"
    assert await backend.settle([Settlement(task, Action.COMPLETE)]) == [False]
