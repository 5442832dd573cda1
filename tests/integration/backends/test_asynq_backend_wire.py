"""What is in Redis afterwards, read as asynq, its inspector, a Go worker and the runqy server read it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness
from support.fakes import eventually

from runqy_worker.backends.asynq.codec import TaskMessage, decode_message, encode_headers
from runqy_worker.backends.asynq.keys import QueueKeys, day_of, lookup_key
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

QUEUE = "jobs.a"
KEYS = QueueKeys(QUEUE)


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    await made.close()


def message_of(harness: AsynqHarness, task_id: str) -> TaskMessage:
    return decode_message(harness.db.hget(KEYS.task(task_id), "msg"))


async def test_a_claim_writes_token_state_and_a_fractional_lease(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(QUEUE) for _ in range(20)]
    backend = await harness.backend(QUEUE)
    for _ in ids:
        await backend.claim(1)
    now = time.time()
    for task_id in ids:
        score = harness.db.zscore(KEYS.lease, task_id)
        assert score != int(score)
        assert now + 10 < score < now + 14
        fields = harness.db.hgetall(KEYS.task(task_id))
        assert fields[b"state"] == b"active"
        assert fields[b"token"].startswith(b"host:1:00000000/")
        assert b"pending_since" not in fields
    assert len({harness.db.hget(KEYS.task(task_id), "token") for task_id in ids}) == 20


async def test_the_leases_of_a_batch_lapse_in_its_order(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(QUEUE) for _ in range(1500)]
    backend = await harness.backend(QUEUE)
    assert [task.id for task in await backend.claim(1500)] == ids
    leases = harness.db.zrange(KEYS.lease, 0, -1, withscores=True)
    assert [task_id.decode() for task_id, _ in leases] == ids
    assert not any(score.is_integer() for _, score in leases)
    assert leases[-1][1] - leases[0][1] < 0.01


async def test_a_go_workers_claim_or_renewal_voids_our_token(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(QUEUE) for _ in range(3)]
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(3)
    harness.db.zadd(KEYS.lease, {ids[1]: int(time.time()) + 30}, xx=True)
    assert await backend.renew(tasks) == [True, False, True]
    assert harness.db.zscore(KEYS.lease, ids[1]).is_integer()
    batch = [Settlement(task, Action.DISCARD) for task in tasks]
    assert await backend.settle(batch) == [True, False, True]
    assert harness.look(QUEUE, ids[1]).state == "active"


async def test_a_task_that_a_go_recoverer_took_is_not_ours(harness: AsynqHarness) -> None:
    task_id = harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(1)
    harness.db.lrem(KEYS.active, 0, task_id)
    harness.db.zrem(KEYS.lease, task_id)
    harness.db.zadd(KEYS.retry, {task_id: int(time.time()) + 60})
    harness.db.hset(KEYS.task(task_id), "state", "retry")
    assert await backend.renew(tasks) == [False]
    assert await backend.settle([Settlement(tasks[0], Action.COMPLETE)]) == [False]
    assert harness.look(QUEUE, task_id).state == "retry"


@pytest.mark.parametrize("action", [Action.COMPLETE, Action.RETRY, Action.ARCHIVE, Action.RELEASE])
async def test_no_exit_leaves_token_or_lease_behind(harness: AsynqHarness, action: Action) -> None:
    task_id = harness.enqueue(QUEUE, retention=60)
    backend = await harness.backend(QUEUE)
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, action, error="x", retry_at=time.time() + 60)])
    assert not harness.db.hexists(KEYS.task(task_id), "token")
    assert harness.db.zcard(KEYS.lease) == harness.db.llen(KEYS.active) == 0


async def test_a_retry_keeps_every_field_of_the_message(harness: AsynqHarness) -> None:
    unknown = b"\xa2\x06\x03abc"
    about = {
        "timeout": 90,
        "deadline": 2_000_000_000,
        "retention": 3600,
        "unique_key": "lock",
        "group_key": "group",
        "headers": encode_headers({"trace": "t-1"}),
        "unknown": unknown,
    }
    task_id = harness.enqueue(QUEUE, b"\x00binary", **about)
    backend = await harness.backend(QUEUE)
    [task] = await backend.claim(1)
    at = time.time() + 60.25
    await backend.settle([Settlement(task, Action.RETRY, error="boom", retry_at=at)])
    message = message_of(harness, task_id)
    assert {name: getattr(message, name) for name in about} == about
    assert (message.payload, message.retried, message.error_msg) == (b"\x00binary", 1, "boom")
    assert abs(message.last_failed_at - time.time()) < 5
    assert abs(harness.db.zscore(KEYS.retry, task_id) - at) < 0.01


async def test_a_completed_task_shows_when_and_how_long(harness: AsynqHarness) -> None:
    task_id = harness.enqueue(QUEUE, retention=3600)
    backend = await harness.backend(QUEUE)
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, Action.COMPLETE, result=b"true")])
    message = message_of(harness, task_id)
    assert message.retention == 3600
    assert abs(message.completed_at - time.time()) < 5
    assert harness.db.zscore(KEYS.completed, task_id) == message.completed_at + 3600
    fields = harness.db.hgetall(KEYS.task(task_id))
    assert int(fields[b"completed_at"]) == message.completed_at
    assert fields[b"result"] == b"true "
    assert harness.db.ttl(KEYS.task(task_id)) == -1


async def test_the_servers_ttl_is_stored_as_the_retention(harness: AsynqHarness) -> None:
    kept = harness.enqueue(QUEUE, fields={"ttl_completed": "120"})
    gone = harness.enqueue(QUEUE, retention=60, fields={"ttl_completed": "0"})
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(2)
    await backend.settle([Settlement(task, Action.COMPLETE) for task in tasks])
    assert message_of(harness, kept).retention == 120
    assert harness.look(QUEUE, gone).state == "deleted"


async def test_limits_of_the_task_itself_are_honoured(harness: AsynqHarness) -> None:
    fields = {"active_timeout": "5", "pending_timeout": "7", "retried": "2", "deaths": "1"}
    harness.enqueue(QUEUE, timeout=60, fields=fields)
    backend = await harness.backend(QUEUE, lifecycle=LifecycleConfig(pending_timeout=99))
    [task] = await backend.claim(1)
    assert (task.timeout, task.pending_timeout, task.retried, task.deaths) == (5, 7, 2, 1)
    assert abs(task.pending_since - time.time()) < 5


async def test_a_ttl_that_an_older_worker_left_is_removed(harness: AsynqHarness) -> None:
    task_id = harness.enqueue(QUEUE)
    harness.db.expire(KEYS.task(task_id), 100)
    backend = await harness.backend(QUEUE)
    await backend.claim(1)
    assert harness.db.ttl(KEYS.task(task_id)) == -1


async def test_a_released_task_keeps_its_age_unless_it_ran(harness: AsynqHarness) -> None:
    first, second = harness.enqueue(QUEUE), harness.enqueue(QUEUE)
    for task_id in (first, second):
        harness.db.hset(KEYS.task(task_id), "pending_since", "1700000000000000001")
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(2)
    await backend.settle([Settlement(tasks[0], Action.RELEASE), Settlement(tasks[1], Action.RELEASE, rerun=True)])
    assert harness.db.hget(KEYS.task(first), "pending_since") == b"1700000000000000001"
    assert abs(int(harness.db.hget(KEYS.task(second), "pending_since")) / 1e9 - time.time()) < 5


@pytest.mark.parametrize("owner", ["us", "other"])
async def test_the_unique_lock_is_released_by_its_owner_only(harness: AsynqHarness, owner: str) -> None:
    lock = KEYS.unique("t", b"{}")
    kept = harness.enqueue(QUEUE, unique_key=lock, retention=60)
    gone = harness.enqueue(QUEUE, unique_key=lock)
    backend = await harness.backend(QUEUE)
    for task_id in (kept, gone):
        harness.db.set(lock, task_id if owner == "us" else "somebody", ex=100)
        [task] = await backend.claim(1)
        assert task.id == task_id
        await backend.settle([Settlement(task, Action.COMPLETE)])
        assert harness.db.exists(lock) == (0 if owner == "us" else 1)


@pytest.mark.parametrize("action", [Action.RETRY, Action.ARCHIVE])
async def test_the_unique_lock_outlives_failures(harness: AsynqHarness, action: Action) -> None:
    lock = KEYS.unique("t", b"{}")
    task_id = harness.enqueue(QUEUE, unique_key=lock)
    harness.db.set(lock, task_id, ex=100)
    backend = await harness.backend(QUEUE)
    [task] = await backend.claim(1)
    await backend.settle([Settlement(task, action, error="x", retry_at=time.time() + 60)])
    assert harness.db.get(lock) == task_id.encode()


async def test_the_servers_record_goes_with_the_task(harness: AsynqHarness) -> None:
    mine, moved = harness.enqueue(QUEUE), harness.enqueue(QUEUE)
    harness.db.hset(lookup_key(mine), "queue", QUEUE)
    harness.db.hset(lookup_key(moved), "queue", "jobs.elsewhere")
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(2)
    await backend.settle([Settlement(task, Action.COMPLETE) for task in tasks])
    assert not harness.db.exists(lookup_key(mine))
    assert harness.db.exists(lookup_key(moved))


async def test_counters_are_asynqs(harness: AsynqHarness) -> None:
    for _ in range(5):
        harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(5)
    actions = [Action.COMPLETE, Action.DISCARD, Action.RETRY, Action.ARCHIVE, Action.RELEASE]
    day = day_of(time.time())
    await backend.settle([Settlement(task, action) for task, action in zip(tasks, actions, strict=True)])
    assert harness.counts(QUEUE) == (4, 2)
    for key, count in ((KEYS.processed_on(day), b"4"), (KEYS.failed_on(day), b"2")):
        assert harness.db.get(key) == count
        assert 89 * 86400 < harness.db.ttl(key) <= 90 * 86400


async def test_a_full_counter_starts_again(harness: AsynqHarness) -> None:
    harness.db.set(KEYS.processed, 2**63 - 2)
    harness.db.set(KEYS.failed, 12)
    for _ in range(3):
        harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(3)
    actions = [Action.COMPLETE, Action.COMPLETE, Action.ARCHIVE]
    await backend.settle([Settlement(task, action) for task, action in zip(tasks, actions, strict=True)])
    assert harness.counts(QUEUE) == (3, 1)


async def test_the_archive_keeps_exactly_its_limit(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE, lifecycle=LifecycleConfig(archive_limit=3))
    ids = []
    for number in range(7):
        ids.append(harness.enqueue(QUEUE))
        harness.db.hset(lookup_key(ids[-1]), "queue", QUEUE)
        [task] = await backend.claim(1)
        await backend.settle([Settlement(task, Action.ARCHIVE, error="x")])
        harness.db.zadd(KEYS.archived, {ids[-1]: time.time() - 100 + number})
    assert harness.db.zrange(KEYS.archived, 0, -1) == [task_id.encode() for task_id in ids[-3:]]
    kept = [task_id for task_id in ids if harness.db.exists(KEYS.task(task_id), lookup_key(task_id))]
    assert kept == ids[-3:]


async def test_a_huge_archive_is_trimmed_without_an_error(harness: AsynqHarness) -> None:
    old = {f"old-{number}": number for number in range(12000)}
    harness.db.zadd(KEYS.archived, old)
    harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE, lifecycle=LifecycleConfig(archive_limit=10))
    [task] = await backend.claim(1)
    assert await backend.settle([Settlement(task, Action.ARCHIVE, error="x")]) == [True]
    assert harness.db.zcard(KEYS.archived) == 11001


async def test_an_id_without_a_task_is_dropped_and_told_once(harness: AsynqHarness) -> None:
    harness.db.lpush(KEYS.pending, "ghost")
    harness.db.lpush(KEYS.pending, "remains")
    harness.db.hset(KEYS.task("remains"), "state", "pending")
    task_id = harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE)
    assert [task.id for task in await backend.claim(5)] == [task_id]
    assert harness.held(QUEUE) == 1
    assert not harness.db.exists(KEYS.task("ghost"), KEYS.task("remains"))
    [notice] = [notice for notice in harness.recorder.notices if notice.action == "task_missing"]
    assert notice.fields["ids"] == ["ghost", "remains"]


async def test_an_unreadable_task_is_archived_as_it_is(harness: AsynqHarness) -> None:
    broken = harness.enqueue(QUEUE)
    harness.db.hset(KEYS.task(broken), "msg", b"\x0a\xff")
    task_id = harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE)
    assert [task.id for task in await backend.claim(5)] == [task_id]
    fields = harness.db.hgetall(KEYS.task(broken))
    assert (fields[b"state"], fields[b"msg"]) == (b"archived", b"\x0a\xff")
    assert b"cannot be read" in fields[b"error_msg"]
    assert harness.db.zscore(KEYS.archived, broken)
    [notice] = [notice for notice in harness.recorder.notices if notice.action == "task_unreadable"]
    assert notice.fields["task_id"] == broken


async def test_a_task_whose_id_is_no_text_is_archived(harness: AsynqHarness) -> None:
    task_id = harness.enqueue(QUEUE)
    harness.db.rename(KEYS.task(task_id), KEYS.task_prefix.encode() + b"\xff")
    harness.db.lset(KEYS.pending, 0, b"\xff")
    backend = await harness.backend(QUEUE)
    assert await backend.claim(5) == []
    assert harness.db.zrange(KEYS.archived, 0, -1) == [b"\xff"]
    assert harness.held(QUEUE) == 0


async def test_a_task_of_plain_fields_gets_a_message(harness: AsynqHarness) -> None:
    harness.db.hset(KEYS.task("p1"), mapping={"type": "work", "payload": "[1]", "max_retry": 9, "retried": 2})
    harness.db.lpush(KEYS.pending, "p1")
    backend = await harness.backend(QUEUE)
    [task] = await backend.claim(1)
    assert (task.id, task.type, task.payload, task.max_retry, task.retried) == ("p1", "work", b"[1]", 9, 2)
    message = message_of(harness, "p1")
    assert (message.id, message.type, message.payload, message.queue) == ("p1", "work", b"[1]", QUEUE)
    await backend.settle([Settlement(task, Action.RETRY, error="x", retry_at=time.time() + 60)])
    assert message_of(harness, "p1").retried == 3


async def test_a_claim_from_one_queue_is_one_command(harness: AsynqHarness) -> None:
    for _ in range(40):
        harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE)
    [first] = await backend.claim(1)
    await backend.renew([first])  # Redis has the three scripts after this
    await backend.settle([Settlement(first, Action.COMPLETE)])
    harness.db.config_resetstat()
    tasks = await backend.claim(20)
    await backend.settle([Settlement(task, Action.COMPLETE) for task in tasks])
    await backend.renew(await backend.claim(19))
    stats = harness.db.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 4


async def test_waiting_connections_are_bounded_and_named(harness: AsynqHarness) -> None:
    backend = await harness.backend(*(f"jobs.q{number}" for number in range(12)), wait_connections=3)
    wait = asyncio.ensure_future(backend.wait())
    deadline = time.monotonic() + 10
    while True:
        names = [client["name"] for client in harness.db.client_list() if client["cmd"].startswith("blmove")]
        if len(names) == 3:
            break
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert sorted(names) == [f"runqy-worker:wait-{number}" for number in (1, 2, 3)]
    await backend.stop_waiting()
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)


async def test_weights_and_storing_of_results_can_change(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    task_id = harness.enqueue(QUEUE, retention=60)
    later = harness.enqueue("jobs.new")
    [task] = await backend.claim(2)
    backend.set_weights({"jobs.new": 1})
    backend.set_store_result(False)
    [new] = await backend.claim(2)
    assert new.id == later
    assert await backend.renew([task, new]) == [True, True]
    assert await backend.settle([Settlement(task, Action.COMPLETE, result=b"1")]) == [True]
    assert harness.look(QUEUE, task_id).result is None
    assert await backend.upkeep() >= 0
    harness.enqueue(QUEUE)
    assert await backend.settle([Settlement(new, Action.COMPLETE)]) == [True]
    assert await backend.is_empty()


async def test_waits_in_vain_cost_redis_little(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE, lease=LeaseConfig(duration=0.5))
    await backend.claim(1)
    harness.db.config_resetstat()
    wait = asyncio.ensure_future(backend.wait())
    await eventually(lambda: calls(harness).get("evalsha", 0) >= 3)
    wait.cancel()
    await asyncio.gather(wait, return_exceptions=True)
    counts = calls(harness)
    waits = counts.pop("evalsha")
    assert counts.pop("blmove") - waits in {0, 1}
    assert {name for name, count in counts.items() if count >= waits} == {"time", "lrange", "exists"}


def calls(harness: AsynqHarness) -> dict[str, int]:
    """What Redis was asked for, beside what asks for that."""
    stats = harness.db.info("commandstats")
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items() if "info" not in name}


async def test_what_a_wait_has_just_moved_is_not_overlooked(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    harness.enqueue(QUEUE)
    harness.db.lmove(KEYS.pending, KEYS.active, "RIGHT", "LEFT")
    assert not await backend.is_empty()


async def test_what_a_wait_on_a_removed_queue_gets_is_given_back(harness: AsynqHarness) -> None:
    backend = await harness.backend(QUEUE)
    wait = asyncio.ensure_future(backend.wait())
    await asyncio.sleep(0.1)
    backend.set_weights({"jobs.new": 1})
    task_id = harness.enqueue(QUEUE)
    await asyncio.wait_for(wait, 20)
    assert await backend.claim(1) == []
    assert harness.line(QUEUE) == [task_id]
