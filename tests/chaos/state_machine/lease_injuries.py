"""What other programs, old versions and bad luck leave behind in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_model import KEPT
from chaos.state_machine.lease_snapshot import TTL

from runqy_worker.backends.asynq.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chaos.state_machine.lease_field import Field

    Injury = Callable[[Field, str, bytes], Awaitable[bool]]

JUNK = b"\xff\xff\xffnot a message"


def _listed(field: Field, name: str, task_id: bytes) -> str:
    """Where the model has it."""
    queue = field.model.queues[name]
    if task_id in queue.active:
        return "active"
    for kind in KEPT:
        if task_id in queue.sets[kind]:
            return kind
    return "pending" if task_id in queue.pending else ""


async def orphan(field: Field, name: str, task_id: bytes) -> bool:
    """A pending task is moved to active, and whoever did it is gone."""
    queue, keys = field.model.queues[name], QueueKeys(name)
    if task_id not in queue.pending or task_id in queue.lease:
        return False
    field.db.lrem(keys.pending, 1, task_id)
    field.db.lpush(keys.active, task_id)
    queue.pending.remove(task_id)
    queue.active[task_id] = None
    return True


async def lose_lease(field: Field, name: str, task_id: bytes) -> bool:
    """The lease of a running task is lost: nobody holds it any more."""
    queue = field.model.queues[name]
    if task_id not in queue.lease or task_id not in queue.active:
        return False
    field.db.zrem(QueueKeys(name).lease, task_id)
    del queue.lease[task_id]
    facts = field.model.tasks.get(task_id)
    if facts is not None:
        field.model.freed(facts, "it was active without a lease")
    return True


async def stray_lease(field: Field, name: str, task_id: bytes) -> bool:
    """A lease of a task that is not running; one of ours, or of a Go worker where a token of ours was left behind."""
    queue = field.model.queues[name]
    if task_id in queue.active or task_id in queue.lease:
        return False
    facts = field.model.tasks.get(task_id)
    whole = len(task_id) % 2 == 0 or (facts is not None and facts.token is not None)
    score = int(field.now) + (5.0 if whole else 5.5)
    field.db.zadd(QueueKeys(name).lease, {task_id: repr(score)})
    queue.lease[task_id] = score
    if facts is not None:
        facts.stray = True
    return True


async def ghost(field: Field, name: str, task_id: bytes) -> bool:
    """An id that never had a task is pending."""
    queue, keys = field.model.queues[name], QueueKeys(name)
    number = field.model.events["injury: ghost"]
    fresh = b"ghost-%d" % number
    field.db.lpush(keys.pending, fresh)
    queue.pending.append(fresh)
    return True


async def lose_hash(field: Field, name: str, task_id: bytes) -> bool:
    """A task's hash is deleted, its id stays where it was."""
    facts = field.model.tasks[task_id]
    if facts.row is None or facts.lost_at is not None:
        return False
    field.db.delete(QueueKeys(name).task(task_id.decode()))
    facts.row = None
    facts.holder = ""
    return True


async def garble(field: Field, name: str, task_id: bytes) -> bool:
    """A task's message becomes something that nobody can read."""
    facts = field.model.tasks[task_id]
    if facts.row is None:
        return False
    field.db.hset(QueueKeys(name).task(task_id.decode()), "msg", JUNK)
    facts.row[b"msg"] = JUNK
    return True


async def unlist(field: Field, name: str, task_id: bytes) -> bool:
    """A task drops out of the list that held it."""
    facts, queue = field.model.tasks[task_id], field.model.queues[name]
    where = _listed(field, name, task_id)
    if facts.row is None or TTL in facts.row or not where or facts.row.get(b"state") != where.encode():
        return False
    key = QueueKeys(name).prefix + where
    if where == "pending":
        field.db.lrem(key, 0, task_id)
        queue.pending.remove(task_id)
    elif where == "active":
        field.db.lrem(key, 0, task_id)
        del queue.active[task_id]
    else:
        field.db.zrem(key, task_id)
        del queue.sets[where][task_id]
    facts.lost_at = field.now
    return True


async def expire_later(field: Field, name: str, task_id: bytes) -> bool:
    """An older worker left a time to live on a task that waits."""
    facts = field.model.tasks[task_id]
    if facts.row is None or _listed(field, name, task_id) not in {"pending", "scheduled", "retry"}:
        return False
    field.db.expire(QueueKeys(name).task(task_id.decode()), 10**6)
    facts.row[TTL] = b"1"
    return True


INJURIES: dict[str, Injury] = {
    "orphan": orphan,
    "lose lease": lose_lease,
    "stray lease": stray_lease,
    "ghost": ghost,
    "lose hash": lose_hash,
    "garble": garble,
    "unlist": unlist,
    "expire later": expire_later,
}


async def injure(field: Field, kind: str, task_id: bytes) -> bool:
    """Inflict it on this task, if it fits; whether it did."""
    facts = field.model.tasks[task_id]
    field.note("injury: %s of %s", kind, task_id)
    done = await INJURIES[kind](field, facts.queue, task_id)
    if done:
        field.model.events[f"injury: {kind}"] += 1
    await field.check({facts.queue: [task_id]})
    return done
