"""A Go worker at the wire: asynq's own scripts, its whole-number leases, its weak fence, its recoverer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chaos.state_machine.lease_actors import GoHand
from chaos.state_machine.lease_field import NAMES
from chaos.state_machine.lease_model import require

from runqy_worker.backends.asynq.codec import decode_message, encode_message
from runqy_worker.backends.asynq.keys import QueueKeys, day_of

if TYPE_CHECKING:
    from chaos.state_machine.lease_field import Field
    from chaos.state_machine.lease_model import QueueModel, TaskFacts

    from runqy_worker.backends.asynq.codec import TaskMessage

LEASE = 30
GRACE = 30
ENDS = ("done", "complete", "retry", "archive", "requeue")

_CLAIM = """\
if redis.call('EXISTS', KEYS[3]) == 1 then return false end
local id = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
if not id then return false end
local key = ARGV[2] .. id
redis.call('HSET', key, 'state', 'active')
redis.call('HDEL', key, 'pending_since')
redis.call('ZADD', KEYS[4], ARGV[1], id)
return {id, redis.call('HGET', key, 'msg')}
"""
_END = """\
local p, id, op, msg, at = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('LREM', p .. 'active', 0, id) == 0 then return 0 end
if redis.call('ZREM', p .. 'lease', id) == 0 then return 0 end
local key = p .. 't:' .. id
if op == 'done' then
  if redis.call('DEL', key) == 0 then return 0 end
elseif op == 'requeue' then
  redis.call('RPUSH', p .. 'pending', id)
  redis.call('HSET', key, 'state', 'pending')
else
  local kind = ({complete = 'completed', retry = 'retry', archive = 'archived'})[op]
  redis.call('ZADD', p .. kind, at, id)
  redis.call('HSET', key, 'msg', msg, 'state', kind)
end
if op ~= 'requeue' then
  for _, name in ipairs((op == 'retry' or op == 'archive') and {'processed', 'failed'} or {'processed'}) do
    redis.call('INCR', p .. name)
    redis.call('INCR', p .. name .. ':' .. ARGV[6])
  end
end
if (op == 'done' or op == 'complete') and ARGV[7] ~= '' and redis.call('GET', ARGV[7]) == id then
  redis.call('DEL', ARGV[7])
end
return 1
"""


class GoWire:
    """Its scripts, on a plain client."""

    def __init__(self, db: Any) -> None:
        self.db = db
        self.claim = db.register_script(_CLAIM)
        self.end = db.register_script(_END)


async def go_claim(field: Field, wire: GoWire, name: str, most: int) -> None:
    """Take tasks one by one, as asynq does. What it could not read stays for ours: it would only lose the way."""
    queue = field.model.queues[name]
    keys = QueueKeys(name)
    field.note("go claims up to %d of %s", most, name)
    taken = []
    until = int(field.now) + LEASE
    for task_id in queue.pending[:most]:
        facts = field.model.tasks.get(task_id)
        if facts is None or facts.row is None or not facts.is_readable():
            break
        answer = wire.claim(keys=[keys.pending, keys.active, keys.paused, keys.lease], args=[until, keys.task_prefix])
        require((answer is None) == queue.paused, "go: %s, paused: %s", answer, queue.paused)
        if answer is None:
            break
        require(answer[0] == task_id, "go got %s, expected %s", answer[0], task_id)
        facts.row |= {b"state": b"active"}
        facts.row.pop(b"pending_since", None)
        queue.active[task_id] = None
        queue.lease[task_id] = until
        field.model.claimed(facts, "")
        field.model.events["claims by go"] += 1
        field.go[task_id] = GoHand(name, answer[1], until)
        taken.append(task_id)
    del queue.pending[: len(taken)]
    await field.check({name: taken})


async def go_renew(field: Field, wire: GoWire) -> None:
    """Extend the leases that, as far as it knows, still last; let the others go."""
    field.note("go renews")
    until = int(field.now) + LEASE
    for task_id, hand in list(field.go.items()):
        if hand.until <= field.now:
            del field.go[task_id]
            continue
        hand.until = until
        wire.db.zadd(QueueKeys(hand.queue).lease, {task_id: until}, xx=True)
        queue = field.model.queues[hand.queue]
        if task_id in queue.lease:
            queue.lease[task_id] = until
    await field.check()


async def go_end(field: Field, wire: GoWire, how: str, most: int) -> None:
    """Report outcomes of what it runs."""
    field.note("go ends up to %d: %s", most, how)
    ended: dict[str, list[bytes]] = {name: [] for name in NAMES}
    for task_id, hand in list(field.go.items())[:most]:
        del field.go[task_id]
        facts = field.model.tasks.get(task_id)
        husk = how == "requeue" and (facts is None or facts.row is None)  # asynq would write a hash without a message
        if hand.until > field.now and not husk:  # else it writes nothing and leaves it to the recoverer
            ended[hand.queue].append(task_id)
            _end(field, wire, hand.queue, task_id, _report(field, how, decode_message(hand.msg)))
    await field.check(ended)


async def go_recover(field: Field, wire: GoWire) -> None:
    """Its recoverer: whatever lease ran out 30 s ago, also one of ours."""
    field.note("go recovers")
    ended: dict[str, list[bytes]] = {name: [] for name in NAMES}
    for name, queue in field.model.queues.items():
        cutoff = int(field.now) - GRACE
        for task_id in [each for each, score in queue.lease.items() if score <= cutoff]:
            facts = field.model.tasks.get(task_id)
            if facts is None or facts.row is None or not facts.is_readable():
                continue
            message = facts.message()
            how = "archive" if message.retried >= message.retry else "retry"
            ended[name].append(task_id)
            _end(field, wire, name, task_id, _report(field, how, message))
    await field.check(ended)


class _Report(NamedTuple):
    """What it writes about one task.

    Attributes:
        how: As the script knows it: one of `ENDS`, `done` instead of `complete` for what is not kept.
        message: After the attempt.
        at: Score in the set that the task goes to.
    """

    how: str
    message: TaskMessage
    at: int


def _report(field: Field, how: str, message: TaskMessage) -> _Report:
    now = int(field.now)
    if how == "complete":
        message.completed_at = now
        return _Report(how if message.retention else "done", message, now + message.retention)
    if how in {"retry", "archive"}:
        message.error_msg, message.last_failed_at = "boom", now
    if how == "retry":
        message.retried += 1
        return _Report(how, message, now + (message.retried - 1) ** 4 + 15)
    return _Report(how, message, now)


def _end(field: Field, wire: GoWire, name: str, task_id: bytes, report: _Report) -> None:
    how, message, at = report
    raw = encode_message(message)
    words = [QueueKeys(name).prefix, task_id, how, raw, at, day_of(field.now), message.unique_key]
    done = bool(wire.end(args=words))
    queue, facts = field.model.queues[name], field.model.tasks.get(task_id)
    # The fence is weak: it only asks whether the task is in active and has a lease, whoever's that is.
    held = task_id in queue.active
    queue.active.pop(task_id, None)
    leased = held and queue.lease.pop(task_id, None) is not None
    alive = facts is not None and facts.row is not None
    require(done == (held and leased and (alive or how != "done")), "go %s %s: %s", how, task_id, done)
    if facts is not None and done:
        _ended(field, queue, facts, report, raw)
    elif facts is not None and held:
        _lost_track(field, facts)


def _lost_track(field: Field, facts: TaskFacts) -> None:
    """It took the task out of active, found no lease or no hash, and left it so."""
    field.model.events["lost track of by go"] += 1
    if facts.row is None:
        field.model.remove(facts, "its hash was lost")
    else:
        facts.lost_at = field.now


def _ended(field: Field, queue: QueueModel, facts: TaskFacts, report: _Report, raw: bytes) -> None:
    how, message, at = report
    if facts.row is None:
        facts.row = {}  # asynq writes the hash anew
    if how == "requeue":
        facts.row[b"state"] = b"pending"
        queue.pending.insert(0, facts.id)
        field.model.freed(facts, "released by go")
        return
    queue.processed += 1
    if how == "done":
        field.model.remove(facts, "completed, not kept")
        if facts.lookup:
            field.model.leftovers.add(facts.id)  # asynq does not know of them
        return
    kind = {"complete": "completed", "retry": "retry", "archive": "archived"}[how]
    facts.row |= {b"msg": raw, b"state": kind.encode()}
    queue.sets[kind][facts.id] = at
    queue.failed += how != "complete"
    if how == "complete":
        field.model.unlock(message.unique_key, facts.id)
    field.model.freed(facts, "failed in go")
