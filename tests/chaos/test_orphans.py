"""Damaged data in Redis: each damage is found, mended and told once, and good tasks go on as if nothing was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from chaos.orphans import KEYS, LISTS, SETS, Planter

from runqy_worker.backends.asynq.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

TOLD = (
    *("sweep_repaired", "audit_repaired", "task_missing", "task_doubled", "task_unreadable", "message_corrected"),
    *("forward_dropped", "purge_dropped", "lease_dropped", "lease_recovered"),
)
BROKEN = {
    "pending": "string",
    "active": "zset",
    "lease": "list",
    "scheduled": "list",
    "retry": "string",
    "archived": "list",
    "completed": "hash",
    "steward": "list",
}
"""A key, and what it is by mistake."""


@pytest.fixture
def db(arena: Arena) -> Iterator[redis.Redis]:
    with redis.Redis(port=arena.redis.port) as client:
        yield client


def told(workers: list[WorkerProcess]) -> list[dict[str, Any]]:
    """All that was logged about damage."""
    return [line for worker in workers for line in worker.lines() if line.get("action") in TOLD]


def traces(db: Any, ids: set[bytes]) -> set[bytes]:
    """Those that are still somewhere."""
    with db.pipeline(transaction=False) as pipe:
        for place in LISTS:
            pipe.lrange(KEYS.prefix + place, 0, -1)
        for place in (*SETS, "lease"):
            pipe.zrange(KEYS.prefix + place, 0, -1)
        found = {task_id for listed in pipe.execute() for task_id in listed}
    hashes = {key[len(KEYS.task_prefix) :] for key in db.scan_iter(f"{KEYS.task_prefix}*", count=1000, _type="hash")}
    return (found | hashes) & ids


def is_settled(arena: Arena, db: Any, planter: Planter) -> bool:
    """Whether every orphan is where it belongs, and every good task completed."""
    wanted = {"completed": set[bytes](), "archived": set(planter.unreadable)}
    for task_id, ending in arena.ledger.endings.items():
        wanted[next(iter(ending.states))].add(task_id.encode())
    here = {place: set(db.zrange(KEYS.prefix + place, 0, -1)) for place in wanted}
    rest = db.llen(KEYS.pending) + db.llen(KEYS.active) + db.zcard(KEYS.lease)
    return here == wanted and not rest and not traces(db, set(planter.ghosts))


def misplaced_states(db: Any) -> list[bytes]:
    """Kept tasks whose state is not that of their place."""
    return [
        task_id
        for place in ("completed", "archived")
        for task_id in db.zrange(KEYS.prefix + place, 0, -1)
        if db.hget(KEYS.task_prefix.encode() + task_id, "state") != place.encode()
    ]


def remove_unreadable(db: Any, planter: Planter) -> None:
    """They must say why they are archived; then they go, since the ledger can't read them."""
    for task_id, error in planter.unreadable.items():
        key = KEYS.task_prefix.encode() + task_id
        assert error.encode() in db.hget(key, "error_msg"), task_id
        db.delete(key)
        db.zrem(KEYS.archived, task_id)


def test_orphans_of_every_kind(arena: Arena, db: Any) -> None:
    planter = Planter(db)
    planter.plant_all()
    workers = arena.team(2)
    goods = arena.size(300, 2_000)
    arena.enter(arena.short_tasks(goods))
    for _ in range(arena.size(0, 5)):
        planter.plant_all()
        arena.enter(arena.short_tasks(goods))
        arena.nap(3)
    arena.ledger.endings |= planter.endings
    began = time.monotonic()
    arena.wait_until(lambda: is_settled(arena, db, planter), "every orphan in its place", seconds=300)
    arena.wait_until(lambda: not misplaced_states(db), "every state as its place", seconds=300)
    arena.ledger.figures["seconds until the last orphan was mended"] = round(time.monotonic() - began, 1)
    arena.ledger.figures["kinds of orphans"] = len(planter.planted)
    for kind, count in planter.planted.items():
        arena.ledger.injuries[f"orphan: {kind}"] += count
    before = told(workers)
    time.sleep(2)  # several sweeps, recoveries and forwardings
    assert told(workers) == before
    remove_unreadable(db, planter)
    runs = arena.runs()
    arena.account()
    assert [task_id for task_id, ending in planter.endings.items() if runs[task_id] != ending.runs] == []
    shown = [
        (line["action"], task_id)
        for line in before
        for task_id in line.get("fields", {}).get("ids", ())
        if line["action"] != "lease_recovered"
    ]
    assert len(shown) == len(set(shown)), "told twice"
    assert [worker.stop() for worker in workers] == [0, 0]


def break_key(db: Any, key: str, kind: str) -> None:
    """Make it something else."""
    db.delete(key)
    if kind == "string":
        db.set(key, "by mistake")
    elif kind == "list":
        db.rpush(key, "by mistake")
    elif kind == "hash":
        db.hset(key, "by", "mistake")
    else:
        db.zadd(key, {"by mistake": 1})


def test_keys_of_the_wrong_type(arena: Arena, db: Any) -> None:
    subs = {f"broken-{name}": name for name in BROKEN}
    arena.queues["jobs"]["sub_queues"] += [{"name": sub, "priority": 1} for sub in subs]
    for sub, name in subs.items():
        break_key(db, QueueKeys(f"jobs.{sub}").prefix + name, BROKEN[name])
    others = [f"jobs.{sub}" for sub, name in subs.items() if name != "pending"]
    waiting = {queue: arena.enqueue(queue, *[{}] * 5) for queue in others}
    workers = arena.team(2)
    ids = arena.enter(arena.short_tasks(arena.size(400, 10_000)))
    arena.ledger.injuries["keys of the wrong type"] = len(BROKEN)
    arena.settle()
    time.sleep(arena.size(2, 40))
    assert all(worker.process.poll() is None for worker in workers)
    text = ""
    for worker in workers:
        lines = [line for line in worker.lines() if line["level"] == "error"]
        said = {(line["action"], line["fields"]["queue"], line["fields"].get("chore")) for line in lines}
        assert len(lines) == len(said), "the same told again"
        text += " ".join(line["message"] for line in lines)
    for sub, name in subs.items():
        assert f"asynq:{{jobs.{sub}}}:{name} is a {BROKEN[name]}, not a " in text, (sub, text)
    for sub, name in subs.items():
        db.delete(QueueKeys(f"jobs.{sub}").prefix + name)
    arena.account()
    for queue, tasks in waiting.items():
        assert [arena.finished(task_id, queue, seconds=60).state for task_id in tasks] == ["completed"] * 5
    assert arena.runs().total() == len(ids) + sum(map(len, waiting.values()))
    assert [worker.stop() for worker in workers] == [0, 0]
