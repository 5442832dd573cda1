"""A queue whose data others have damaged, and what a worker that meets it does, seen call by call."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from conformance.backend_harness import AsynqHarness
from support.asynq_world import World
from support.tcp_proxy import TcpProxy

from runqy_worker.backends.asynq.auditing import Auditing
from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.forwarding import Forwarding
from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.config.model import LeaseConfig
from runqy_worker.domain.errors import BackendError, BackendUnavailableError
from runqy_worker.domain.events import Level
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.redis_server import RedisServer

    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.upkeep import Upkeep

GOOD, BAD = "jobs.good", "jobs.bad"
KEYS = QueueKeys(BAD)


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    await made.close()


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    made = World(redis_server.addr)
    yield made
    await made.close()


def audit_of(upkeep: Upkeep) -> Auditing:
    """The audit alone."""
    return next(chore for chore in upkeep._due_at if isinstance(chore, Auditing))


async def test_an_outcome_that_redis_refuses_keeps_no_other_queues_from_being_written(harness: AsynqHarness) -> None:
    good, bad = harness.enqueue(GOOD, retention=60), harness.enqueue(BAD, retention=60)
    backend = await harness.backend(GOOD, BAD)
    tasks = await backend.claim(2)
    harness.db.set(KEYS.completed, "by mistake")
    assert await backend.settle([Settlement(task, Action.COMPLETE) for task in tasks]) == [True, False]
    assert harness.look(GOOD, good).state == "completed"
    assert (harness.look(BAD, bad).state, harness.held(BAD)) == ("active", 1), "written in part"
    said = [notice for notice in harness.recorder.notices if notice.action in {"outcomes_refused", "queue_refused"}]
    assert [notice.action for notice in said] == ["outcomes_refused", "queue_refused"]
    assert all(f"{KEYS.completed} is a string, not a zset" in notice.message for notice in said)


async def test_a_renewal_that_redis_refuses_takes_nobodys_tasks_away(harness: AsynqHarness) -> None:
    harness.enqueue(GOOD)
    harness.enqueue(BAD)
    backend = await harness.backend(GOOD, BAD)
    tasks = await backend.claim(2)
    harness.db.delete(KEYS.lease)
    harness.db.rpush(KEYS.lease, "by mistake")
    assert await backend.renew(tasks) == [True, True]
    assert await backend.renew(tasks) == [True, True]
    assert [notice.action for notice in harness.recorder.notices if notice.level >= Level.ERROR] == ["queue_refused"]


async def test_nothing_is_taken_whose_outcome_could_not_be_written(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(BAD) for _ in range(3)]
    harness.db.rpush(KEYS.retry, "by mistake")
    backend = await harness.backend(BAD)
    assert await backend.claim(3) == []
    assert (harness.line(BAD), harness.held(BAD)) == (ids, 0)
    assert await backend.is_empty() is False


async def test_one_queues_broken_keys_leave_the_chores_of_others_alone(harness: AsynqHarness) -> None:
    for key in (KEYS.scheduled, KEYS.lease, KEYS.archived, KEYS.retry):
        harness.db.set(key, "by mistake")
    good = QueueKeys(GOOD)
    scheduled = harness.enqueue(GOOD, delay=-1)
    backend = await harness.backend(BAD, GOOD, lease=LeaseConfig(duration=0.2, recover_every=0.05))
    await harness.chores(backend, lambda: harness.line(GOOD) == [scheduled])
    harness.db.lmove(good.pending, good.active)
    await harness.chores(backend, lambda: harness.line(GOOD) == [scheduled])
    [task] = await backend.claim(1)
    harness.expire(GOOD)
    await harness.chores(backend, lambda: harness.line(GOOD) == [scheduled])
    assert await backend.settle([Settlement(task, Action.COMPLETE)]) == [False]
    failed = [notice for notice in harness.recorder.notices if notice.action == "chore_failed"]
    assert {notice.fields["queue"] for notice in failed} == {BAD}
    assert len({notice.fields["chore"] for notice in failed}) == len(failed), "the same told again"


async def test_a_claim_takes_no_more_than_an_answer_can_carry(harness: AsynqHarness) -> None:
    big = b'"' + b"x" * (9 << 20) + b'"'
    ids = [harness.enqueue(BAD, payload) for payload in (b"1", big, big, b"2", b"3")]
    backend = await harness.backend(BAD)
    first = await backend.claim(5)
    assert [task.id for task in first] == ids[:3]
    assert harness.line(BAD) == ids[3:]
    assert int(harness.db.zcard(KEYS.lease)) == 3
    second = await backend.claim(5)
    assert [task.id for task in second] == ids[3:]


async def test_a_message_of_another_task_is_corrected(harness: AsynqHarness) -> None:
    task_id = harness.enqueue(BAD, retention=60)
    harness.db.rename(KEYS.task(task_id), KEYS.task("renamed"))
    harness.db.lset(KEYS.pending, 0, "renamed")
    backend = await harness.backend(BAD)
    [task] = await backend.claim(1)
    assert task.id == "renamed"
    stored = harness.db.hget(KEYS.task("renamed"), "msg")
    assert b"renamed" in stored
    assert task_id.encode() not in stored
    assert await backend.settle([Settlement(task, Action.COMPLETE)]) == [True]
    assert harness.look(BAD, "renamed").state == "completed"


async def test_a_task_that_vanished_from_active_is_settled_by_its_owner(harness: AsynqHarness) -> None:
    task_id = harness.enqueue(BAD, retention=60)
    backend = await harness.backend(BAD)
    tasks = await backend.claim(1)
    harness.db.delete(KEYS.active)
    assert await backend.settle([Settlement(tasks[0], Action.COMPLETE)]) == [True]
    assert harness.look(BAD, task_id).state == "completed"
    assert harness.db.zcard(KEYS.lease) == 0


async def test_what_a_wait_claimed_in_vain_is_given_back_once_though_the_answer_is_lost(
    harness: AsynqHarness, redis_server: RedisServer
) -> None:
    with TcpProxy(redis_server.port) as proxy:
        backend = await harness.backend(BAD, options=RedisOptions(addr=proxy.addr))
        ids = [harness.enqueue(BAD) for _ in range(3)]
        harness.db.rename(KEYS.pending, "aside")
        assert await backend.claim(3) == []
        wait = asyncio.ensure_future(backend.wait())
        await asyncio.sleep(0.1)
        harness.db.rename("aside", KEYS.pending)  # so that one wait takes all
        await asyncio.wait_for(wait, 20)
        running = await backend.claim(1)
        proxy.lose_reply_to(load("settle").sha.encode())
        with pytest.raises(BackendUnavailableError):
            await backend.stop_waiting()
        await backend.stop_waiting()
        assert {task.id for task in running} | set(harness.line(BAD)) == set(ids)
        assert await backend.settle([Settlement(task, Action.DISCARD) for task in running]) == [True]


async def test_a_renewal_on_a_connection_that_fell_silent_is_repeated_before_leases_lapse(
    harness: AsynqHarness, redis_server: RedisServer
) -> None:
    with TcpProxy(redis_server.port) as proxy:
        harness.enqueue(BAD)
        lease = LeaseConfig(duration=4)
        backend = await harness.backend(BAD, options=RedisOptions(addr=proxy.addr), lease=lease)
        tasks = await backend.claim(1)
        began = time.monotonic()
        assert await backend.renew(tasks) == [True]
        assert proxy.freeze(saying=load("renew").sha.encode()) == 1
        with pytest.raises(BackendUnavailableError):
            await backend.renew(tasks)
        assert await backend.renew(tasks) == [True]
        assert time.monotonic() - began < lease.duration


async def test_a_member_that_its_group_lost_is_in_the_group_again(world: World) -> None:
    for task_id in ("lost", "waiting", "taken"):
        world.put(task_id, "aggregating", 1, hash_group="mail")
    world.db.delete(world.keys.prefix + "aggregating")
    world.db.zadd(world.keys.group("mail"), {"waiting": 5})
    world.db.zadd(world.keys.group("mail:one"), {"taken": 6})
    world.db.zadd(world.keys.prefix + "aggregation_sets", {world.keys.group("mail:one"): time.time() + 60})
    audit = audit_of(world.upkeep())
    await audit.run()
    await audit.run()
    assert set(world.db.zrange(world.keys.group("mail"), 0, -1)) == {"lost", "waiting"}
    assert world.db.smembers(world.keys.groups) == {"mail"}
    assert world.pending() == []


async def test_a_group_of_the_wrong_type_holds_up_only_its_own_tasks(world: World) -> None:
    """They stay in the set, and go on when it is mended."""
    for number in range(600):
        group = {"hash_group": "team"} if number % 2 else {}
        world.put(f"t{number:03}", "scheduled", number + 1, **group)
    world.put("again", "retry", 1, hash_group="team")
    world.db.set(world.keys.group("team"), "by mistake")
    forwarding = next(chore for chore in world.upkeep()._due_at if isinstance(chore, Forwarding))
    for _ in range(3):
        assert await forwarding.run() > 0, "more is due"
    assert world.pending() == [f"t{number:03}" for number in range(0, 600, 2)]
    due_at = dict(world.db.zrange(world.keys.scheduled, 0, -1, withscores=True))
    assert set(due_at) == {f"t{number:03}" for number in range(1, 600, 2)}
    assert min(due_at.values()) > time.time()
    assert (world.field("t001", "state"), world.field("again", "state")) == ("scheduled", "retry")
    said = [notice for notice in world.recorder.notices if notice.level >= Level.ERROR]
    assert [notice.action for notice in said] == ["forward_put_off"]
    assert f"{world.keys.group('team')} is a string, not a zset" in said[0].message
    world.db.delete(world.keys.group("team"))
    world.db.zadd(world.keys.scheduled, dict.fromkeys(due_at, 1))
    await forwarding.run()
    assert set(world.db.zrange(world.keys.group("team"), 0, -1)) == set(due_at)


async def test_what_is_due_stays_where_it_is_while_pending_is_of_the_wrong_type(world: World) -> None:
    world.put("a", "scheduled", 1)
    world.put("b", "scheduled", 1, hash_group="mail")
    world.db.set(world.keys.pending, "by mistake")
    await world.upkeep().run()
    assert world.db.zrange(world.keys.scheduled, 0, -1) == ["a", "b"]
    assert (world.field("a", "state"), world.field("b", "state")) == ("scheduled", "scheduled")
    assert not world.db.exists(world.keys.group("mail"))


async def test_a_lapsed_lease_stays_as_it_is_until_its_task_can_go_back_to_pending(world: World) -> None:
    world.put_active("a", time.time() - 9.5, hash_token="w/1")
    world.db.set(world.keys.pending, "by mistake")
    upkeep, ends = world.upkeep(), time.monotonic() + 10
    while not (said := [notice for notice in world.recorder.notices if notice.action == "chore_failed"]):
        assert time.monotonic() < ends
        await asyncio.sleep(await upkeep.run())
    assert f"{world.keys.pending} is a string, not a list" in said[0].message
    assert world.db.lrange(world.keys.active, 0, -1) == ["a"]
    assert world.field("a", "token") == "w/1"
    world.db.delete(world.keys.pending)
    upkeep = world.upkeep()
    while not world.pending():
        assert time.monotonic() < ends
        await asyncio.sleep(await upkeep.run())
    assert not world.db.exists(world.keys.active, world.keys.lease)


async def test_a_finished_task_with_a_wrong_state_is_purged_with_its_set(world: World) -> None:
    for task_id, place in (("done", "completed"), ("failed", "archived")):
        world.put(task_id, place, 1)
        world.db.hset(world.keys.task(task_id), "state", "pending")
    world.db.zadd(world.keys.archived, {"ghost": time.time()})
    await world.upkeep().run()
    assert not world.db.exists(world.keys.completed, world.keys.archived)
    assert not world.db.exists(world.keys.task("done"), world.keys.task("failed"))
    assert "purge_dropped" in world.recorder.actions()


async def test_lost_tasks_are_found_after_as_many_rounds_as_there_are_keys(world: World) -> None:
    for number in range(1200):
        world.put(f"t{number}", "completed", time.time() + 600)
    world.put("lost", "pending")
    world.db.delete(world.keys.pending)
    audit = audit_of(world.upkeep())
    for _ in range(5):
        await audit.run()
    assert world.pending() == ["lost"]


@pytest.mark.parametrize(
    ("broken", "options"),
    [
        ("pending", {}),
        ("scheduled", {"process_in": 60}),
        ("g:mail", {"group": "mail"}),
        ("groups", {"group": "mail"}),
        ("asynq:t:a", {}),
    ],
)
async def test_a_task_that_cant_be_enqueued_leaves_nothing_behind(
    world: World, broken: str, options: dict[str, Any]
) -> None:
    key = broken if broken.startswith("asynq:") else world.keys.prefix + broken
    world.db.set(key, "by mistake")
    async with AsynqClient(world.options) as client:
        with pytest.raises(BackendError, match=f"WRONGTYPE {re.escape(key)} is a string"):
            await client.enqueue(world.keys.queue, b"{}", task_id="a", unique_ttl=60, **options)
        assert set(world.db.keys()) == {"asynq:queues", key}
        world.db.delete(key)
        assert await client.enqueue(world.keys.queue, b"{}", task_id="a", unique_ttl=60, **options) == "a"


@pytest.mark.parametrize("broken", ["scheduled", "retry", "archived", "completed", "groups", "active", "lease"])
@pytest.mark.parametrize("verb", ["archive", "delete"])
async def test_an_operators_command_that_redis_refuses_leaves_the_task_where_it_is(
    world: World, verb: str, broken: str
) -> None:
    world.put("a", "pending")
    world.db.set(world.keys.prefix + broken, "by mistake")
    before = world.raw.hgetall(world.keys.task("a"))
    async with AsynqClient(world.options) as client:
        with pytest.raises(BackendError, match="WRONGTYPE"):
            await getattr(client, verb)("a", world.keys.queue)
    assert world.pending() == ["a"]
    assert world.raw.hgetall(world.keys.task("a")) == before


async def test_a_member_is_not_run_while_its_group_or_the_line_is_of_the_wrong_type(world: World) -> None:
    async with AsynqClient(world.options) as client:
        await client.enqueue(world.keys.queue, b"{}", task_id="a", group="mail")
        world.db.set(world.keys.pending, "by mistake")
        with pytest.raises(BackendError, match="WRONGTYPE"):
            await client.run_now("a", world.keys.queue)
    assert world.db.zrange(world.keys.group("mail"), 0, -1) == ["a"]
    assert world.field("a", "state") == "aggregating"


async def test_a_lock_or_record_of_the_wrong_type_keeps_no_task_from_being_deleted(world: World) -> None:
    world.put("a", "pending", hash_unique_key="lock")
    world.db.sadd("lock", "by mistake")
    world.db.set("asynq:t:a", "by mistake")
    async with AsynqClient(world.options) as client:
        assert await client.delete("a", world.keys.queue) == "pending"
    assert not world.db.exists(world.keys.task("a"), world.keys.pending)


def taken_over(world: World, task_id: str, state: str, *, counters: int) -> tuple[Arg, ...]:
    """The script call that takes it from a Go worker."""
    target = world.keys.prefix + state
    seen = (world.keys.task_prefix, task_id, world.db.zscore(world.keys.lease, task_id))
    counted = ("d1", "d2", world.keys.processed, world.keys.failed)[:counters]
    return load("take_over").command(
        (world.keys.lease, world.keys.active, target, *counted), (*seen, state, 5, b"m", int(time.time()) + 60)
    )


@pytest.mark.parametrize("state", ["retry", "archived", "pending"])
async def test_a_go_workers_task_that_cant_be_taken_over_keeps_its_lease(world: World, state: str) -> None:
    world.put_active("go", int(time.time()) - 100)
    world.db.set(world.keys.prefix + state, "by mistake")
    with pytest.raises(BackendError, match="WRONGTYPE"):
        await world.link.call(*taken_over(world, "go", state, counters=0 if state == "pending" else 4))
    assert world.db.lrange(world.keys.active, 0, -1) == world.db.zrange(world.keys.lease, 0, -1) == ["go"]
    assert world.field("go", "state") == "active"


async def test_counters_that_cant_count_keep_no_go_workers_task_from_being_taken_over(world: World) -> None:
    world.put_active("go", int(time.time()) - 100)
    world.db.rpush("d1", "by mistake")
    world.db.set(world.keys.processed, "by mistake")
    assert await world.link.call(*taken_over(world, "go", "retry", counters=4)) == 1
    assert world.db.zrange(world.keys.retry, 0, -1) == ["go"]
    assert (world.db.get("d2"), world.db.get(world.keys.failed)) == ("1", "1")
