"""What goes wrong between us and Redis, and that it costs no task and no attempt."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness
from support.fakes import eventually
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy

from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.config.model import LeaseConfig
from runqy_worker.domain.errors import BackendError, BackendUnavailableError
from runqy_worker.domain.events import Silent
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

QUEUE = "jobs.a"
KEYS = QueueKeys(QUEUE)
FAST = LeaseConfig(duration=0.2, recover_every=0.05)


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    await made.close()


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[TcpProxy]:
    with TcpProxy(redis_server.port) as made:
        yield made


async def persist(operation: Callable[[], Awaitable[T]]) -> T:
    """Repeat while the backend is unavailable, as the engine does."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return await operation()
        except BackendUnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


async def test_a_claim_whose_reply_was_lost_is_found_again(harness: AsynqHarness, proxy: TcpProxy) -> None:
    ids = [harness.enqueue(QUEUE) for _ in range(10)]
    backend = await harness.backend(QUEUE, options=RedisOptions(addr=proxy.addr))
    before = await backend.claim(2)
    proxy.lose_reply_to(load("claim").sha.encode())
    with pytest.raises(BackendUnavailableError):
        await backend.claim(4)
    assert harness.held(QUEUE) == 6
    tasks = await backend.claim(5)
    assert [task.id for task in before + tasks] == ids[:7]
    assert all(await backend.settle([Settlement(task, Action.DISCARD) for task in before + tasks]))
    assert harness.line(QUEUE) == ids[7:]
    assert harness.held(QUEUE) == 0


async def test_what_a_lost_claim_took_too_much_of_goes_back(harness: AsynqHarness, proxy: TcpProxy) -> None:
    ids = [harness.enqueue(QUEUE) for _ in range(6)]
    backend = await harness.backend(QUEUE, options=RedisOptions(addr=proxy.addr))
    proxy.lose_reply_to(load("claim").sha.encode())
    with pytest.raises(BackendUnavailableError):
        await backend.claim(4)
    [task] = await backend.claim(1)
    assert task.id == ids[0]
    assert harness.line(QUEUE) == ids[1:]
    assert harness.db.zcard(KEYS.lease) == 1
    assert not harness.db.hexists(KEYS.task(ids[1]), "token")


async def test_a_lost_claim_is_given_back_when_no_more_is_wanted(harness: AsynqHarness, proxy: TcpProxy) -> None:
    ids = [harness.enqueue(QUEUE) for _ in range(3)]
    backend = await harness.backend(QUEUE, options=RedisOptions(addr=proxy.addr))
    proxy.lose_reply_to(load("claim").sha.encode())
    with pytest.raises(BackendUnavailableError):
        await backend.claim(3)
    await backend.stop_waiting()
    assert harness.line(QUEUE) == ids
    assert harness.held(QUEUE) == 0


async def test_a_settlement_whose_reply_was_lost_is_applied_once(harness: AsynqHarness, proxy: TcpProxy) -> None:
    harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE, options=RedisOptions(addr=proxy.addr))
    tasks = await backend.claim(1)
    batch = [Settlement(tasks[0], Action.COMPLETE)]
    proxy.lose_reply_to(load("settle").sha.encode())
    with pytest.raises(BackendUnavailableError):
        await backend.settle(batch)
    assert await backend.settle(batch) == [False]
    assert harness.counts(QUEUE) == (1, 0)


async def test_a_task_lost_on_its_way_to_a_waiter_is_found_by_its_next_claim(
    harness: AsynqHarness, proxy: TcpProxy
) -> None:
    backend = await harness.backend(QUEUE, options=RedisOptions(addr=proxy.addr))
    assert await backend.claim(1) == []
    wait = asyncio.ensure_future(backend.wait())
    proxy.lose_reply_to(b"BLMOVE")
    await asyncio.sleep(0.1)
    task_id = harness.enqueue(QUEUE)
    with pytest.raises(BackendUnavailableError):
        await asyncio.wait_for(wait, 20)
    await eventually(lambda: harness.db.zcard(KEYS.lease) == 1)
    assert harness.line(QUEUE) == []
    await asyncio.wait_for(persist(backend.wait), 20)
    [task] = await persist(lambda: backend.claim(1))
    assert (task.id, task.retried, task.reruns) == (task_id, 0, 0)
    assert await backend.settle([Settlement(task, Action.DISCARD)]) == [True]


async def test_an_id_lost_on_its_way_to_a_waiter_is_swept_back(harness: AsynqHarness, proxy: TcpProxy) -> None:
    """Where the script that goes with the wait is not known to Redis, the id has no lease."""
    backend = await harness.backend(QUEUE, options=RedisOptions(addr=proxy.addr))
    harness.db.script_flush()
    wait = asyncio.ensure_future(backend.wait())
    proxy.lose_reply_to(b"BLMOVE")
    await asyncio.sleep(0.1)
    task_id = harness.enqueue(QUEUE)
    with pytest.raises(BackendUnavailableError):
        await asyncio.wait_for(wait, 20)
    await eventually(lambda: harness.held(QUEUE) == 1)
    other = await harness.backend(QUEUE, lease=FAST)
    await harness.chores(other, lambda: harness.line(QUEUE) == [task_id])
    [task] = await persist(lambda: backend.claim(1))
    assert (task.id, task.retried, task.reruns) == (task_id, 0, 0)


async def test_an_id_that_was_swept_back_is_not_adopted_twice(harness: AsynqHarness) -> None:
    first = await harness.backend(QUEUE, lease=FAST)
    second = await harness.backend(QUEUE, lease=FAST)
    wait = asyncio.ensure_future(first.wait())
    await asyncio.sleep(0.1)
    task_id = harness.enqueue(QUEUE)
    await asyncio.wait_for(wait, 20)
    await harness.chores(second, lambda: harness.line(QUEUE) == [task_id])
    [task] = await second.claim(1)
    assert await first.claim(1) == []
    assert await second.settle([Settlement(task, Action.DISCARD)]) == [True]
    assert harness.held(QUEUE) == 0


async def test_scripts_are_loaded_again_after_a_flush(harness: AsynqHarness) -> None:
    for _ in range(2):
        harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE, "jobs.b")
    harness.db.script_flush()
    tasks = await backend.claim(2)
    harness.db.script_flush()
    assert await backend.renew(tasks) == [True, True]
    harness.db.script_flush()
    assert await backend.settle([Settlement(task, Action.DISCARD) for task in tasks]) == [True, True]


async def test_killed_connections_come_back(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(QUEUE) for _ in range(5)]
    backend = await harness.backend(QUEUE)
    settled = 0
    while settled < 5:
        harness.db.client_kill_filter(_type="normal", skipme=True)
        [task] = await persist(lambda: backend.claim(1))
        harness.db.client_kill_filter(_type="normal", skipme=True)
        assert await persist(lambda task=task: backend.renew([task])) == [True]  # type: ignore[misc]
        harness.db.client_kill_filter(_type="normal", skipme=True)
        assert await persist(lambda task=task: backend.settle([Settlement(task, Action.DISCARD)])) == [True]  # type: ignore[misc]
        assert task.id == ids[settled]
        settled += 1
    assert harness.counts(QUEUE) == (5, 0)


async def test_a_connection_closed_while_idle_is_replaced_unnoticed(harness: AsynqHarness) -> None:
    link = Link(harness.options, "test", listener=Silent())
    await link.call("PING")
    harness.db.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(1.1)
    assert await link.call("PING") == b"PONG"
    await link.close()


async def test_a_killed_wait_says_so_and_goes_on(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.1)
    harness.db.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(BackendUnavailableError):
        await asyncio.wait_for(wait, 20)
    wait = asyncio.ensure_future(backend.wait())
    task_id = harness.enqueue(QUEUE)
    await asyncio.wait_for(wait, 20)
    [task] = await persist(lambda: backend.claim(1))
    assert task.id == task_id


async def test_claims_survive_a_restart_of_redis(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        harness = AsynqHarness(server.addr)
        ids = [harness.enqueue(QUEUE, retention=60) for _ in range(4)]
        backend = await harness.backend(QUEUE)
        tasks = await backend.claim(3)
        wait = asyncio.ensure_future(backend.wait())
        server.kill()
        with pytest.raises(BackendUnavailableError):
            await backend.settle([Settlement(tasks[0], Action.COMPLETE)])
        server.start()
        assert await persist(lambda: backend.renew(tasks)) == [True] * 3
        batch = [Settlement(task, Action.COMPLETE) for task in tasks]
        assert await persist(lambda: backend.settle(batch)) == [True] * 3
        assert [harness.look(QUEUE, task_id).state for task_id in ids[:3]] == ["completed"] * 3
        await asyncio.gather(wait, return_exceptions=True)
        assert [task.id for task in await persist(lambda: backend.claim(1))] == ids[3:]
        await harness.close()


async def test_a_frozen_redis_times_out_and_no_reply_is_mistaken(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        link = Link(RedisOptions(addr=server.addr, timeout=0.2), "test", listener=Silent())
        assert await link.call("SET", "a", "1") == b"OK"
        server.pause()
        with pytest.raises(BackendUnavailableError, match="did not answer in time"):
            await link.call("GET", "a")
        server.resume()
        assert await persist(lambda: link.call("SET", "b", "2")) == b"OK"
        assert await link.pipeline([("GET", "b"), ("GET", "a")]) == [b"2", b"1"]
        await link.close()


async def test_a_cancelled_call_leaves_no_stale_reply(harness: AsynqHarness) -> None:
    link = Link(harness.options, "test", listener=Silent())
    await link.call("SET", "a", "1")
    for _ in range(20):
        call = asyncio.ensure_future(link.call("GET", "a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert await link.call("ECHO", "fresh") == b"fresh"
    await link.close()


async def test_calls_from_many_tasks_get_their_own_replies(harness: AsynqHarness) -> None:
    link = Link(harness.options, "test", listener=Silent())
    replies = await asyncio.gather(*(link.call("ECHO", str(number)) for number in range(50)))
    assert replies == [str(number).encode() for number in range(50)]
    await link.close()


async def test_a_refused_command_in_a_pipeline_is_raised_after_all_were_read(harness: AsynqHarness) -> None:
    link = Link(harness.options, "test", listener=Silent())
    commands = [("SET", "a", "1"), ("LPUSH", "a", "x"), ("GET", "a")]
    with pytest.raises(BackendError, match="WRONGTYPE") as caught:
        await link.pipeline(commands)
    assert not isinstance(caught.value, BackendUnavailableError)
    done, refused, value = await link.pipeline(commands, keep_errors=True)
    assert (done, value) == (b"OK", b"1")
    assert isinstance(refused, BackendError)
    await link.close()


async def test_a_redis_without_memory_takes_outcomes_and_renewals(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(QUEUE, retention=60) for _ in range(3)]
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(2)
    harness.db.config_set("maxmemory", "1")
    try:
        link = Link(harness.options, "test", listener=Silent())
        with pytest.raises(BackendUnavailableError, match="OOM"):
            await link.call("SET", "a", "1")
        await link.close()
        assert await backend.renew(tasks) == [True, True]
        batch = [Settlement(tasks[0], Action.COMPLETE), Settlement(tasks[1], Action.RELEASE)]
        assert await backend.settle(batch) == [True, True]
    finally:
        harness.db.config_set("maxmemory", "0")
    assert harness.look(QUEUE, ids[0]).state == "completed"
    assert harness.line(QUEUE) == ids[1:]


async def test_a_replica_is_unavailable_until_it_is_promoted(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        harness = AsynqHarness(server.addr)
        task_id = harness.enqueue(QUEUE)
        backend = await harness.backend(QUEUE)
        harness.db.replicaof("127.0.0.1", 1)
        with pytest.raises(BackendUnavailableError, match="READONLY"):
            await backend.claim(1)
        harness.db.replicaof("NO", "ONE")
        [task] = await persist(lambda: backend.claim(1))
        assert task.id == task_id
        await harness.close()


async def test_a_queue_that_redis_refuses_does_not_keep_others_from_being_served(harness: AsynqHarness) -> None:
    harness.db.set(QueueKeys("jobs.broken").pending, "not a list")
    backend = await harness.backend("jobs.broken", QUEUE)
    task_id = harness.enqueue(QUEUE)
    deadline = time.monotonic() + 20
    tasks = await backend.claim(3)
    while not tasks:
        assert time.monotonic() < deadline
        await asyncio.wait_for(backend.wait(), 20)
        tasks = await backend.claim(3)
    assert [task.id for task in tasks] == [task_id]
    assert "queue_refused" in harness.recorder.actions()


async def test_listening_says_when_it_is_cut_off(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    heard: list[str] = []
    listening = asyncio.ensure_future(backend.listen(heard.append))
    while not heard:
        harness.cancel("one")
        await asyncio.sleep(0.01)
    harness.db.client_kill_filter(_type="pubsub")
    with pytest.raises(BackendUnavailableError):
        await asyncio.wait_for(listening, 20)
