"""The queues' chores against a real Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.asynq_world import World
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy

from runqy_worker.backends.asynq import sweeping as sweeping_module
from runqy_worker.backends.asynq.auditing import Auditing
from runqy_worker.backends.asynq.forwarding import Forwarding
from runqy_worker.backends.asynq.janitor import Janitor
from runqy_worker.backends.asynq.recovery import Recovery
from runqy_worker.backends.asynq.sweeping import Sweeping
from runqy_worker.config.model import LifecycleConfig
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from runqy_worker.backends.asynq.upkeep import Chore, Upkeep

DAY = 86400


class SkewedClock(SystemClock):
    """A host's clock that is so many seconds ahead."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def time(self) -> float:
        return super().time() + self._ahead


class HastyClock(SystemClock):
    """Every look at it takes so many seconds."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._looks = 0

    def monotonic(self) -> float:
        self._looks += 1
        return self._looks * self._step


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    world = World(redis_server.addr)
    yield world
    await world.close()


async def keep_up(upkeep: Upkeep, until: Callable[[], bool], limit: float = 5) -> None:
    """Run the chores as they become due until the condition holds."""
    deadline = time.monotonic() + limit
    while not until():
        assert time.monotonic() < deadline, "the chores did not get there"
        await asyncio.sleep(min(await upkeep.run(), 0.05))


async def test_due_tasks_of_both_sets_become_pending(world: World) -> None:
    now = time.time()
    world.put("a", "scheduled", now - 2)
    world.put("b", "retry", now - 1)
    world.put("later", "scheduled", now + 60)
    world.db.expire(world.keys.task("a"), 1000)
    await world.upkeep().run()
    assert world.pending() == ["a", "b"]
    assert world.field("a", "state") == "pending"
    assert abs(int(world.field("a", "pending_since")) / 1e9 - now) < 5
    assert world.db.ttl(world.keys.task("a")) == -1
    assert world.db.zrange(world.keys.scheduled, 0, -1) == ["later"]


async def test_more_than_one_batch_is_forwarded_at_once(world: World) -> None:
    for number in range(600):
        world.put(f"t{number:03}", "scheduled", number + 1)
    await world.upkeep().run()
    assert world.pending() == [f"t{number:03}" for number in range(600)]


async def test_the_next_look_is_when_the_earliest_is_due(world: World) -> None:
    world.put("soon", "retry", time.time() + 0.5)
    upkeep = world.upkeep(recover_every=60)
    assert 0 < await upkeep.run() <= 0.5
    await keep_up(upkeep, lambda: world.pending() == ["soon"])


async def test_new_earlier_tasks_are_seen_within_a_second(world: World) -> None:
    world.put("far", "scheduled", time.time() + 3600)
    assert await world.upkeep(recover_every=60).run() <= 1


async def test_a_grouped_task_goes_to_its_group_and_the_group_is_listed(world: World) -> None:
    world.put("a", "scheduled", 1, hash_group="mail", hash_unique_key="lock")
    world.db.set("lock", "a")
    await world.upkeep().run()
    assert world.pending() == []
    assert world.db.zrange(world.keys.group("mail"), 0, -1) == ["a"]
    assert world.db.smembers(world.keys.groups) == {"mail"}
    assert world.field("a", "state") == "aggregating"
    assert world.db.get("lock") == "a"


async def test_an_id_without_task_is_dropped_not_forwarded(world: World) -> None:
    world.db.zadd(world.keys.retry, {"ghost": 1})
    await world.upkeep().run()
    assert world.pending() == []
    assert not world.db.exists(world.keys.task("ghost"), world.keys.retry)
    assert "forward_dropped" in world.recorder.actions()


async def test_lapsed_leases_of_ours_go_to_the_front_oldest_first_uncharged(world: World) -> None:
    world.put("waiting", "pending")
    now = time.time()
    world.put_active("first", now - 9.5, hash_token="w/1", retried=1)
    world.put_active("second", now - 5.25, hash_token="w/2")
    world.put_active("alive", now + 50.5, hash_token="w/3")
    await keep_up(world.upkeep(), lambda: world.db.llen(world.keys.pending) == 3)
    assert world.pending() == ["first", "second", "waiting"]
    assert world.field("first", "token") is None
    assert world.field("first", "recovered") == "1"
    assert world.field("first", "state") == "pending"
    assert world.message("first").retried == 1
    assert world.db.lrange(world.keys.active, 0, -1) == ["alive"]
    assert world.db.zrange(world.keys.lease, 0, -1) == ["alive"]
    assert world.db.get(world.keys.processed) is None
    notices = [notice for notice in world.recorder.notices if notice.action == "lease_recovered"]
    assert [notice.fields["count"] for notice in notices] == [2]


async def test_nothing_is_recovered_until_one_lease_after_connecting(world: World) -> None:
    world.put_active("a", time.time() - 9.5)
    upkeep = world.upkeep(duration=30)
    for _ in range(5):
        await upkeep.run()
    assert world.pending() == []
    await world.link.close()
    await upkeep.run()
    assert world.db.lrange(world.keys.active, 0, -1) == ["a"]


async def recover_for(upkeep: Upkeep, seconds: float) -> None:
    """Run the chores as they become due; a refusal ends it."""
    ends = time.monotonic() + seconds
    await keep_up(upkeep, lambda: time.monotonic() >= ends, seconds + 5)


@pytest.mark.parametrize("settled_in", [False, True], ids=["just connected", "connected long ago"])
async def test_a_server_that_takes_no_writes_is_noticed_before_any_lease_lapses(world: World, settled_in: bool) -> None:
    """Owners can't renew then, and must get the time to do so once it takes writes again."""
    upkeep = world.upkeep(duration=0.5)
    world.put_active("a", time.time() + 60.5, hash_token="w/1")
    await recover_for(upkeep, 1 if settled_in else 0.1)
    upkeep._due_at = {chore: 0.0 if isinstance(chore, Recovery) else time.monotonic() + 60 for chore in upkeep._due_at}
    world.db.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(BackendUnavailableError, match="READONLY"):
            await recover_for(upkeep, 5)
    finally:
        world.db.replicaof("NO", "ONE")
    world.db.zadd(world.keys.lease, {"a": time.time() - 9.5})
    await recover_for(upkeep, 0.3)
    assert world.pending() == []
    await keep_up(upkeep, lambda: world.pending() == ["a"])


async def test_a_go_workers_lease_is_left_alone_within_its_grace(world: World) -> None:
    now = int(time.time())
    world.put_active("go", now - 20)
    world.put_active("marker", now - 0.5)
    await keep_up(world.upkeep(), lambda: world.pending() == ["marker"])
    assert world.db.zscore(world.keys.lease, "go") == now - 20


async def test_a_go_workers_lapsed_task_is_retried_as_asynq_would(world: World) -> None:
    now = int(time.time())
    world.put_active("go", now - 40, retried=1, timeout=77, unknown=b"\xa2\x06\x01x")
    await keep_up(world.upkeep(), lambda: world.db.zcard(world.keys.retry) == 1)
    delay = world.db.zscore(world.keys.retry, "go") - now
    assert 16 <= delay <= 16 + 2 * 29 + 5
    message = world.message("go")
    assert (message.retried, message.error_msg, message.timeout) == (2, "asynq: task lease expired", 77)
    assert message.unknown == b"\xa2\x06\x01x"
    assert abs(message.last_failed_at - now) <= 5
    assert world.field("go", "state") == "retry"
    assert not world.db.exists(world.keys.active, world.keys.lease)
    assert (world.db.get(world.keys.processed), world.db.get(world.keys.failed)) == ("1", "1")
    today = time.strftime("%Y-%m-%d", time.gmtime(message.last_failed_at))
    assert world.db.get(world.keys.processed_on(today)) == world.db.get(world.keys.failed_on(today)) == "1"
    assert 0 < world.db.ttl(world.keys.failed_on(today)) <= 90 * DAY


async def test_a_go_workers_lease_that_it_renews_is_left_alone_whatever_its_clock_says(world: World) -> None:
    long_ago = int(time.time()) - 300
    world.put_active("alive", long_ago)
    world.put_active("dead", long_ago)
    upkeep = world.upkeep(duration=0.4)
    renewals = 0

    def dead_is_taken() -> bool:
        nonlocal renewals
        renewals += 1
        world.db.zadd(world.keys.lease, {"alive": long_ago + renewals})
        return bool(world.db.zcard(world.keys.retry))

    await keep_up(upkeep, dead_is_taken)
    assert world.db.zrange(world.keys.retry, 0, -1) == ["dead"]
    assert world.db.zrange(world.keys.lease, 0, -1) == ["alive"]


@pytest.mark.parametrize("ahead", [300.0, -300.0])
async def test_a_host_whose_clock_is_off_judges_a_go_workers_lease_no_earlier(world: World, ahead: float) -> None:
    now = int(time.time())
    world.put_active("alive", now + 30 if ahead > 0 else now - 20)
    world.put_active("marker", now - 0.5)
    upkeep = world.upkeep(clock=SkewedClock(ahead))
    await keep_up(upkeep, lambda: world.pending() == ["marker"])
    ends = time.monotonic() + 0.5
    await keep_up(upkeep, lambda: time.monotonic() > ends)
    assert world.db.zrange(world.keys.lease, 0, -1) == ["alive"]


async def test_a_go_workers_lapsed_task_without_retries_left_is_archived(world: World) -> None:
    world.put_active("go", int(time.time()) - 40, retried=0, retry=3, hash_retried="3")
    await keep_up(world.upkeep(), lambda: world.db.zcard(world.keys.archived) == 1)
    assert (world.message("go").retried, world.message("go").error_msg) == (3, "asynq: task lease expired")
    assert world.field("go", "state") == "archived"


async def test_an_unreadable_task_of_a_go_worker_becomes_pending(world: World) -> None:
    world.put_active("go", int(time.time()) - 40)
    world.db.hset(world.keys.task("go"), "msg", "\x0a\x7f")
    await keep_up(world.upkeep(), lambda: world.pending() == ["go"])


async def test_more_lapsed_leases_than_a_batch_are_all_recovered(world: World) -> None:
    now = int(time.time())
    for number in range(130):
        world.put_active(f"go{number}", now - 10)
        world.put_active(f"ours{number}", now - 5.5 - number)
    await keep_up(world.upkeep(), lambda: len(world.pending()) >= 130)
    assert set(world.pending()) == {f"ours{number}" for number in range(130)}
    assert set(world.db.lrange(world.keys.active, 0, -1)) == {f"go{number}" for number in range(130)}


async def test_active_without_lease_is_given_back_after_two_sweeps(world: World) -> None:
    world.put("waiting", "pending")
    world.put("older", "active", hash_token="w/1")
    world.put("newer", "active")
    world.db.lpush(world.keys.active, "ghost")
    upkeep = world.upkeep()
    await upkeep.run()
    assert world.pending() == ["waiting"]
    await keep_up(upkeep, lambda: len(world.pending()) == 3)
    assert world.pending() == ["older", "newer", "waiting"]
    assert world.field("older", "token") is None
    assert not world.db.exists(world.keys.active)
    assert not world.db.exists(world.keys.task("ghost"))


async def test_many_are_mended_some_at_a_time_and_told_together(world: World) -> None:
    """Redis serves nobody else during a call."""
    for number in range(250):
        world.put(f"t{number:03}", "active")
        world.put_active(f"bare{number}", time.time() + 60.5)
        world.db.lrem(world.keys.active, 0, f"bare{number}")
    sweeping = next(chore for chore in world.upkeep(recover_every=0.01)._due_at if isinstance(chore, Sweeping))
    most = 0

    async def measured(*arguments: Any, **options: Any) -> list[Any]:
        nonlocal most
        most = max(most, *(len(command) for command in arguments[0]))
        return await pipeline(*arguments, **options)

    pipeline, world.link.pipeline = world.link.pipeline, measured  # type: ignore[method-assign]
    await sweeping.run()
    await asyncio.sleep(0.02)
    await sweeping.run()
    assert world.pending() == [f"t{number:03}" for number in range(250)]
    assert set(world.db.lrange(world.keys.active, 0, -1)) == {f"bare{number}" for number in range(250)}
    assert most < 120
    (said,) = [notice for notice in world.recorder.notices if notice.action == "sweep_repaired"]
    assert (said.fields["returned"], said.fields["restored"]) == (250, 250)


async def test_a_list_longer_than_a_sweep_is_swept_to_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping_module, "_MOST", 10)
    monkeypatch.setattr(sweeping_module, "_MOST_LAPSED", 3)
    now = time.time()
    for number in range(2):
        world.put(f"orphan{number}", "active")
    for number in range(35):
        world.put_active(f"running{number}", now + 60.5)
    for number in range(5):
        world.put_active(f"go{number}", int(now) - 20)
        world.put_active(f"bare{number}", now - 9.5)
        world.db.lrem(world.keys.active, 0, f"bare{number}")
    world.put_active("fine", now + 60.5)
    world.db.lrem(world.keys.active, 0, "fine")
    sweeping = next(chore for chore in world.upkeep(recover_every=0.01)._due_at if isinstance(chore, Sweeping))
    for _ in range(8):
        await sweeping.run()
        await asyncio.sleep(0.02)
    active = set(world.db.lrange(world.keys.active, 0, -1))
    assert world.pending() == ["orphan0", "orphan1"]
    assert active == {f"{name}{at}" for name, count in (("running", 35), ("go", 5), ("bare", 5)) for at in range(count)}
    assert world.db.zscore(world.keys.lease, "fine") is not None


async def test_mending_leaves_the_other_chores_their_turn(world: World) -> None:
    """A clock that runs fast does as well as a slow network."""
    for number in range(250):
        world.put(f"t{number:03}", "active")
    clock = HastyClock(0.2)
    chores = world.upkeep(recover_every=0.05, clock=clock)._due_at
    sweeping = next(chore for chore in chores if isinstance(chore, Sweeping))
    seen = []
    while len(world.pending()) < 250:
        await sweeping.run()
        seen.append(len(world.pending()))
    assert (seen[0], len(seen) > 2) == (0, True)
    assert world.pending() == [f"t{number:03}" for number in range(250)]


async def test_nothing_leaves_active_while_pending_is_of_the_wrong_type(world: World) -> None:
    world.put("a", "active")
    world.db.set(world.keys.pending, "by mistake")
    upkeep = world.upkeep()
    await keep_up(upkeep, lambda: any(n.fields.get("chore") == "sweeping" for n in world.recorder.notices))
    assert world.db.lrange(world.keys.active, 0, -1) == ["a"]


@pytest.mark.parametrize(("kind", "state"), [(Forwarding, "scheduled"), (Janitor, "completed")])
async def test_forwarding_and_purging_leave_the_other_chores_their_turn(
    world: World, kind: type[Chore], state: str
) -> None:
    for number in range(1000):
        world.put(f"t{number:03}", state, number + 1)
    clock = HastyClock(0.1)
    chore = next(chore for chore in world.upkeep(clock=clock, recover_every=60)._due_at if isinstance(chore, kind))
    assert await chore.run() == 0
    left = world.db.zcard(world.keys.prefix + state)
    assert 0 < left < 1000
    while await chore.run() == 0:
        assert world.db.zcard(world.keys.prefix + state) < left
        left = world.db.zcard(world.keys.prefix + state)
    assert world.db.zcard(world.keys.prefix + state) == 0


async def test_leases_are_recovered_while_there_is_much_to_purge(redis_server: RedisServer, world: World) -> None:
    """Over a slow network: looking late means that the worker stood still, and so waits for another lease."""
    with TcpProxy(redis_server.port) as proxy:
        proxy.set_latency(0.02, 0.02)
        with world.raw.pipeline(transaction=False) as pipe:
            for number in range(40_000):
                pipe.zadd(world.keys.completed, {f"t{number}": 1})
                pipe.hset(world.keys.task(f"t{number}"), "state", "completed")
            pipe.execute()
        slow = World(proxy.addr)
        world.put_active("a", time.time() - 9.5)
        upkeep = slow.upkeep(duration=4, recover_every=0.4)
        await keep_up(upkeep, lambda: world.pending() == ["a"], 30)
        assert world.db.zcard(world.keys.completed) > 0
        await slow.close()


async def test_a_claim_between_two_sweeps_is_not_disturbed(world: World) -> None:
    world.put("a", "active")
    upkeep = world.upkeep()
    await upkeep.run()
    world.db.zadd(world.keys.lease, {"a": time.time() + 30.5})
    world.put("marker", "active")
    await keep_up(upkeep, lambda: world.pending() == ["marker"])
    assert world.db.lrange(world.keys.active, 0, -1) == ["a"]


async def test_a_lease_of_nothing_active_is_removed_after_two_sweeps(world: World) -> None:
    world.db.zadd(world.keys.lease, {"stray": time.time() + 60.5})
    upkeep = world.upkeep()
    await upkeep.run()
    assert world.db.zcard(world.keys.lease) == 1
    await keep_up(upkeep, lambda: not world.db.exists(world.keys.lease))


async def test_only_one_worker_sweeps_and_another_takes_over(world: World) -> None:
    first, second = world.upkeep(), world.upkeep()
    await first.run()
    steward = world.db.get(f"{world.keys.prefix}steward")
    second._due_at = dict.fromkeys(second._due_at, 0.0)
    await second.run()
    assert world.db.get(f"{world.keys.prefix}steward") == steward
    world.put("orphan", "active")
    await keep_up(second, lambda: world.pending() == ["orphan"])


async def test_completed_tasks_are_purged_when_their_time_is_over(world: World) -> None:
    for number in range(230):
        world.put(f"old{number}", "completed", 1)
        world.db.hset(f"asynq:t:old{number}", "queue", world.keys.queue)
    world.db.hset("asynq:t:old0", "queue", "another.queue")
    world.put("kept", "completed", time.time() + 60)
    await world.upkeep().run()
    assert world.db.zrange(world.keys.completed, 0, -1) == ["kept"]
    assert set(world.db.scan_iter("asynq:*t:*")) == {"asynq:t:old0", world.keys.task("kept")}


async def test_a_task_that_runs_again_is_not_purged_with_its_old_completion(world: World) -> None:
    world.put("a", "retry", time.time() + 60)
    world.db.zadd(world.keys.completed, {"a": 1})
    await world.upkeep().run()
    assert world.field("a", "state") == "retry"
    assert world.db.zcard(world.keys.completed) == 0


async def test_archived_tasks_go_by_age_unless_they_say_otherwise(world: World) -> None:
    now = time.time()
    world.put("ancient", "archived", now - 91 * DAY, hash_unique_key="lock")
    world.put("forever", "archived", now - 400 * DAY, hash_ttl_archived="0")
    world.put("recent", "archived", now - 89 * DAY)
    world.put("brief", "archived", now - 100, hash_ttl_archived="60")
    world.db.set("lock", "ancient")
    await world.upkeep().run()
    assert set(world.db.zrange(world.keys.archived, 0, -1)) == {"forever", "recent"}
    assert not world.db.exists(world.keys.task("ancient"), world.keys.task("brief"), "lock")


async def test_archived_tasks_can_be_kept_for_ever_or_briefly(world: World) -> None:
    world.put("old", "archived", 1)
    await world.upkeep(lifecycle=LifecycleConfig(ttl_archived=0)).run()
    assert world.db.zcard(world.keys.archived) == 1
    world.db.delete(f"{world.keys.prefix}steward")
    await world.upkeep(lifecycle=LifecycleConfig(ttl_archived=3600)).run()
    assert world.db.zcard(world.keys.archived) == 0


async def test_a_task_in_no_list_is_found_and_put_back(world: World) -> None:
    world.put("fine", "pending")
    for task_id, state in (("lost", "pending"), ("claimed", "active"), ("done", "completed"), ("bad", "archived")):
        world.put(task_id, state, 1)
        if state == "pending":
            world.db.lrem(world.keys.pending, 0, task_id)
        else:
            world.db.delete(world.keys.prefix + state)
    world.put("expiring", "completed", 1)
    world.db.delete(world.keys.completed)
    world.db.expire(world.keys.task("expiring"), 100)
    audit = next(chore for chore in world.upkeep()._due_at if isinstance(chore, Auditing))
    await audit.run()
    assert world.pending() == ["fine"]
    await audit.run()
    assert set(world.pending()) == {"fine", "lost", "claimed"}
    assert world.pending()[0] == "fine"
    assert world.db.zrange(world.keys.completed, 0, -1) == ["done"]
    assert world.db.zscore(world.keys.completed, "done") > time.time()
    assert world.db.zrange(world.keys.archived, 0, -1) == ["bad"]
    assert world.field("claimed", "state") == "pending"
    assert "audit_repaired" in world.recorder.actions()


async def test_an_idle_round_costs_few_commands(world: World) -> None:
    upkeep = world.upkeep()
    await upkeep.run()
    await asyncio.sleep(0.25)
    before = world.db.info("stats")["total_commands_processed"]
    upkeep._due_at = dict.fromkeys(upkeep._due_at, 0.0)
    await upkeep.run()
    counted = world.db.info("stats")["total_commands_processed"] - before - 1
    assert counted < 30


async def test_one_broken_key_does_not_keep_the_other_chores_from_running(world: World) -> None:
    world.db.set(world.keys.scheduled, "not a set")
    world.put("old", "completed", 1)
    await world.upkeep().run()
    assert world.db.zcard(world.keys.completed) == 0
    failed = [notice for notice in world.recorder.notices if notice.action == "chore_failed"]
    assert [notice.fields["chore"] for notice in failed] == ["forwarding"]


async def test_an_unreachable_redis_is_told_and_the_chores_stay_due(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        world = World(server.addr)
        upkeep = world.upkeep()
        await upkeep.run()
        server.kill()
        upkeep._due_at = dict.fromkeys(upkeep._due_at, 0.0)
        with pytest.raises(BackendUnavailableError):
            await upkeep.run()
        server.start()
        world.put("a", "scheduled", 1)
        await upkeep.run()
        assert world.pending() == ["a"]
        await world.close()
