"""Who does a queue's chores, and who does them next when that one leaves, dies or sleeps, against a real Redis."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from conformance.backend_harness import AsynqHarness
from support.asynq_world import World
from support.redis_server import RedisServer

from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.backends.asynq.upkeep import Upkeep
from runqy_worker.config.model import LeaseConfig, LifecycleConfig
from runqy_worker.domain.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from runqy_worker.backends.asynq.scripts import Arg

PATIENT = LeaseConfig()
HASTY = LeaseConfig(duration=0.6, renew_every=0.15, recover_every=0.15)
"""A term is a quarter of a second."""
NAMES = {load(name).sha: name for name in ("steward", "forward", "recover", "sweep", "purge", "audit", "mend")}


class CountingLink(Link):
    """Remembers how often each script was called."""

    calls: Counter[str]

    async def pipeline(self, commands: Sequence[Sequence[Arg]], **options: Any) -> list[Any]:
        self.calls.update(NAMES[str(command[1])] for command in commands if command[0] == "EVALSHA")
        return await super().pipeline(commands, **options)


class Member:
    """One worker's upkeep, over a connection of its own."""

    def __init__(self, world: World, lease: LeaseConfig, seed: int) -> None:
        self.link = CountingLink(world.options, f"upkeep-{seed}", listener=world.recorder)
        self.calls = self.link.calls = Counter()
        self.upkeep = Upkeep(
            [world.keys],
            self.link,
            lease=lease,
            lifecycle=LifecycleConfig(),
            max_retry=3,
            listener=world.recorder,
            clock=SystemClock(),
            rng=random.Random(seed),
        )

    async def live(self, until: Callable[[], bool]) -> None:
        """Do the chores as they become due until the condition holds."""
        deadline = time.monotonic() + 20
        while not until():
            assert time.monotonic() < deadline, "the chores did not get there"
            await asyncio.sleep(min(await self.upkeep.run(), 0.02))


@pytest.fixture
async def world(redis_server: RedisServer) -> AsyncIterator[World]:
    world = World(redis_server.addr)
    yield world
    await world.close()


class Fleet:
    """Makes members, and ends them with the test."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.members: list[Member] = []

    def join(self, lease: LeaseConfig = HASTY) -> Member:
        member = Member(self._world, lease, len(self.members))
        self.members.append(member)
        return member


@pytest.fixture
async def fleet(world: World) -> AsyncIterator[Fleet]:
    fleet = Fleet(world)
    yield fleet
    for member in fleet.members:
        await member.link.close()


async def forwarding_costs(world: World, fleet: Fleet, workers: int) -> Counter[str]:
    """Commands of everyone while tasks become due, without what each worker asks at its start."""
    members = [fleet.join(PATIENT) for _ in range(workers)]
    for member in members:
        await member.upkeep.run()
    due_at = time.time() + 0.3
    for number in range(30):
        world.put(f"t{number}", "scheduled", due_at)
    before = [member.calls.copy() for member in members]
    deadline = due_at + 20
    async with asyncio.TaskGroup() as group:
        for member in members:
            group.create_task(member.live(lambda: len(world.pending()) == 30 or time.time() > deadline))
    assert len(world.pending()) == 30
    spent = [after.calls - earlier for after, earlier in zip(members, before, strict=True)]
    assert sum(calls["forward"] > 0 for calls in spent) == 1
    for member in members:
        await member.upkeep.end()
    return sum(spent, Counter())


async def test_tasks_that_become_due_at_once_cost_the_same_for_any_fleet(world: World, fleet: Fleet) -> None:
    alone = await forwarding_costs(world, fleet, 1)
    world.db.flushall()
    crowd = await forwarding_costs(world, fleet, 25)
    assert crowd["forward"] <= alone["forward"] + 1  # one that came a moment before its time
    assert crowd["steward"] <= alone["steward"] + 1


async def test_a_steward_that_dies_without_goodbye_is_replaced(world: World, fleet: Fleet) -> None:
    steward, heir = fleet.join(), fleet.join()
    await steward.upkeep.run()
    await heir.upkeep.run()
    assert not heir.calls["forward"]
    await steward.link.abort()
    world.put("a", "scheduled", 1)
    await heir.live(lambda: world.pending() == ["a"])


async def test_the_tasks_of_a_dead_steward_are_recovered(world: World, fleet: Fleet) -> None:
    steward, heir = fleet.join(), fleet.join()
    await steward.upkeep.run()
    await heir.upkeep.run()
    world.put_active("a", time.time() + 0.61, hash_token="steward/1")
    await steward.link.abort()
    await heir.live(lambda: world.pending() == ["a"])
    assert world.field("a", "recovered") == "1"


async def test_a_steward_that_wakes_up_does_no_harm_and_looks_on(world: World, fleet: Fleet) -> None:
    sleeper, heir = fleet.join(), fleet.join()
    await sleeper.upkeep.run()
    await heir.live(lambda: heir.calls["forward"] > 0)
    for number in range(20):
        world.put(f"t{number:02}", "scheduled", 1)
    forwarded = sleeper.calls["forward"]
    await asyncio.gather(sleeper.upkeep.run(), heir.live(lambda: len(world.pending()) == 20))
    assert world.pending() == [f"t{number:02}" for number in range(20)]
    assert sleeper.calls["forward"] == forwarded


async def test_a_steward_that_stops_hands_over_at_once(world: World, fleet: Fleet) -> None:
    leaver, heir = fleet.join(PATIENT), fleet.join(PATIENT)
    await leaver.upkeep.run()
    await leaver.upkeep.end()
    world.put("a", "scheduled", 1)
    await heir.upkeep.run()
    assert world.pending() == ["a"]


async def test_a_stopping_worker_that_is_not_the_steward_leaves_it_alone(world: World, fleet: Fleet) -> None:
    steward, other = fleet.join(PATIENT), fleet.join(PATIENT)
    await steward.upkeep.run()
    await other.upkeep.run()
    lock = world.db.get(f"{world.keys.prefix}steward")
    await other.upkeep.end()
    assert world.db.get(f"{world.keys.prefix}steward") == lock


async def test_a_lock_that_never_lapses_is_taken(world: World, fleet: Fleet) -> None:
    world.db.set(f"{world.keys.prefix}steward", "somebody")
    world.put("a", "scheduled", 1)
    await fleet.join(PATIENT).upkeep.run()
    assert world.pending() == ["a"]
    assert world.db.pttl(f"{world.keys.prefix}steward") > 0


async def test_a_lock_that_outlasts_every_term_is_taken(world: World, fleet: Fleet) -> None:
    """The server's clock was set back: a lock of its former time would hold for as long."""
    steward = f"{world.keys.prefix}steward"
    world.db.set(steward, "somebody", px=3_600_000)
    world.put("a", "scheduled", 1)
    await fleet.join(PATIENT).upkeep.run()
    assert world.pending() == ["a"]
    assert world.db.pttl(steward) <= 5000


async def test_a_lock_of_a_longer_term_than_ones_own_is_left_alone(world: World, fleet: Fleet) -> None:
    world.db.set(f"{world.keys.prefix}steward", "somebody", px=4900)
    await fleet.join(HASTY).upkeep.run()
    assert world.db.get(f"{world.keys.prefix}steward") == "somebody"


async def test_whoever_looks_on_notices_a_server_that_takes_no_writes(world: World, fleet: Fleet) -> None:
    """Owners can't renew then, so a new steward must not take what lapsed meanwhile."""
    steward, other = fleet.join(), fleet.join()
    await steward.upkeep.run()
    await other.live(lambda: other.calls["forward"] > 0)
    connected_at = other.link.connected_at
    world.db.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(Exception, match="READONLY"):
            await other.live(lambda: False)
    finally:
        world.db.replicaof("NO", "ONE")
    await other.upkeep.run()
    assert other.link.connected_at > connected_at


async def test_a_backend_that_closes_or_serves_other_queues_gives_way(redis_server: RedisServer) -> None:
    harness = AsynqHarness(redis_server.addr)
    leaving = await harness.backend("jobs.a", "jobs.b", lease=PATIENT)
    await leaving.upkeep()
    locks = {queue: harness.db.get(f"asynq:{{{queue}}}:steward") for queue in ("jobs.a", "jobs.b")}
    assert all(locks.values())
    leaving.set_weights({"jobs.a": 1})
    await leaving.upkeep()
    assert harness.db.get("asynq:{jobs.a}:steward") == locks["jobs.a"]
    await leaving.close()
    assert not harness.db.exists("asynq:{jobs.a}:steward")
    await harness.close()


async def test_closing_while_redis_is_gone_is_quiet(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        world = World(server.addr)
        member = Member(world, PATIENT, 1)
        await member.upkeep.run()
        server.kill()
        await member.upkeep.end()
        await member.link.close()
        await world.close()
