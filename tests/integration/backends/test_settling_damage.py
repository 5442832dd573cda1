"""Keys beside a queue that clients have damaged, or that we may not look at: outcomes are written whole nonetheless."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from conformance.backend_harness import AsynqHarness

from runqy_worker.backends.asynq.keys import QueueKeys, day_of, lookup_key
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.config.model import LifecycleConfig
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from support.redis_server import RedisServer

QUEUE = "jobs.a"
KEYS = QueueKeys(QUEUE)
DAY = day_of(time.time())


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    await made.close()


def is_whole(harness: AsynqHarness) -> bool:
    """Whether nothing of the tasks that ended is left where running tasks are."""
    return not harness.db.exists(KEYS.active, KEYS.lease)


async def test_a_lock_that_is_no_text_keeps_no_outcome_from_being_written(harness: AsynqHarness) -> None:
    ids = [harness.enqueue(QUEUE, unique_key=lock) for lock in ("free", "a hash", "")]
    harness.db.set("free", ids[0])
    harness.db.hset("a hash", "field", "1")
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(3)
    assert await backend.settle([Settlement(task, Action.COMPLETE) for task in tasks]) == [True] * 3
    assert is_whole(harness)
    assert [harness.look(QUEUE, task_id).state for task_id in ids] == ["deleted"] * 3
    assert not harness.db.exists("free")
    assert harness.db.exists("a hash")
    assert harness.counts(QUEUE) == (3, 0)


@pytest.mark.parametrize(
    "damage",
    [lambda db, key: db.set(key, "x"), lambda db, key: db.rpush(key, "x"), lambda db, key: db.hset(key, "x", 1)],
)
@pytest.mark.parametrize("key", [KEYS.processed, KEYS.failed, KEYS.processed_on(DAY), KEYS.failed_on(DAY)])
async def test_a_counter_that_cannot_be_counted_on_starts_again(
    harness: AsynqHarness, damage: Callable[[Any, str], None], key: str
) -> None:
    damage(harness.db, key)
    ids = [harness.enqueue(QUEUE, retention=60) for _ in range(3)]
    backend = await harness.backend(QUEUE)
    tasks = await backend.claim(3)
    actions = [Action.COMPLETE, Action.RELEASE, Action.ARCHIVE]
    assert await backend.settle([Settlement(task, act) for task, act in zip(tasks, actions, strict=True)]) == [True] * 3
    assert is_whole(harness)
    assert [harness.look(QUEUE, task_id).state for task_id in ids] == ["completed", "pending", "archived"]
    assert harness.counts(QUEUE) == (2, 1)
    today = (KEYS.processed_on(DAY), KEYS.failed_on(DAY))
    assert [int(harness.db.get(each)) for each in today] == [2, 1]
    assert all(harness.db.ttl(each) > 0 for each in today)


async def test_an_archived_id_that_is_no_task_only_leaves_the_archive(harness: AsynqHarness) -> None:
    harness.db.set(KEYS.task("old"), "by mistake")
    harness.db.zadd(KEYS.archived, {"old": 1, "ghost": 2})
    harness.enqueue(QUEUE)
    backend = await harness.backend(QUEUE, lifecycle=LifecycleConfig(archive_limit=1))
    [task] = await backend.claim(1)
    assert await backend.settle([Settlement(task, Action.ARCHIVE)]) == [True]
    assert is_whole(harness)
    assert harness.db.zrange(KEYS.archived, 0, -1) == [task.id.encode()]
    assert harness.db.get(KEYS.task("old")) == b"by mistake"


async def test_records_that_we_may_not_look_at_are_left_alone(harness: AsynqHarness) -> None:
    harness.db.acl_setuser(
        "narrow", enabled=True, passwords=["+pw"], commands=["+@all"], keys=[KEYS.prefix + "*"], channels=["*"]
    )
    ids = [harness.enqueue(QUEUE), harness.enqueue(QUEUE, retention=60)]
    for task_id in ids:
        harness.db.hset(lookup_key(task_id), "queue", QUEUE)
    try:
        options = RedisOptions(addr=harness.options.addr, username="narrow", password="pw")
        backend = await harness.backend(QUEUE, options=options)
        tasks = await backend.claim(2)
        assert await backend.settle([Settlement(task, Action.COMPLETE) for task in tasks]) == [True, True]
    finally:
        harness.db.acl_deluser("narrow")
    assert is_whole(harness)
    assert [harness.look(QUEUE, task_id).state for task_id in ids] == ["deleted", "completed"]
    assert harness.db.exists(*map(lookup_key, ids)) == 2


async def test_a_task_is_not_trimmed_by_the_call_that_archives_it(harness: AsynqHarness) -> None:
    """The clock was set back: the scores of those archived before lie in the future."""
    for number in range(5):
        harness.db.hset(KEYS.task(f"old{number}"), mapping={"msg": "x", "state": "archived"})
        harness.db.zadd(KEYS.archived, {f"old{number}": time.time() + 3600 + number})
    ids = [harness.enqueue(QUEUE) for _ in range(2)]
    backend = await harness.backend(QUEUE, lifecycle=LifecycleConfig(archive_limit=5))
    tasks = await backend.claim(2)
    assert await backend.settle([Settlement(task, Action.ARCHIVE) for task in tasks]) == [True, True]
    assert [harness.look(QUEUE, task_id).state for task_id in ids] == ["archived", "archived"]
    assert harness.db.zcard(KEYS.archived) == 5
    assert not harness.db.exists(KEYS.task("old0"), KEYS.task("old1"))


async def test_a_trimmed_task_that_was_run_again_only_leaves_the_archive(harness: AsynqHarness) -> None:
    places = {"pending": KEYS.pending, "active": KEYS.active}
    for state, key in places.items():
        harness.db.hset(KEYS.task(state), mapping={"msg": "x", "state": state})
        harness.db.rpush(key, state)
    sets = {"retry": KEYS.retry, "scheduled": KEYS.scheduled, "completed": KEYS.completed}
    for state, key in sets.items():
        harness.db.hset(KEYS.task(state), mapping={"msg": "x", "state": state})
        harness.db.zadd(key, {state: time.time() + 60})
    harness.db.hset(KEYS.task("nowhere"), mapping={"msg": "x", "state": "pending"})
    known = {*places, *sets}
    harness.db.zadd(KEYS.archived, dict.fromkeys({*known, "nowhere"}, 1))
    task_id = harness.enqueue(QUEUE)
    harness.db.lmove(KEYS.pending, KEYS.pending, "LEFT", "RIGHT")
    backend = await harness.backend(QUEUE, lifecycle=LifecycleConfig(archive_limit=1))
    [task] = await backend.claim(1)
    assert task.id == task_id
    assert await backend.settle([Settlement(task, Action.ARCHIVE)]) == [True]
    assert harness.db.zrange(KEYS.archived, 0, -1) == [task_id.encode()]
    assert {name for name in known if harness.db.exists(KEYS.task(name))} == known
    assert not harness.db.exists(KEYS.task("nowhere"))
