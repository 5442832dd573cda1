"""What producers and operators do: enqueue, pause, run now, archive, delete. Every step is predicted exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chaos.state_machine.lease_field import NAMES
from chaos.state_machine.lease_model import KEPT, TaskFacts, require
from chaos.state_machine.lease_snapshot import TTL

from runqy_worker.backends.asynq.codec import decode_message
from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.refusals import (
    DuplicateTaskError,
    RefusedError,
    TaskIdTakenError,
    TaskNotFoundError,
    TaskStateError,
)
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.state_machine.lease_field import Field
    from chaos.state_machine.lease_link import Loss

    from runqy_worker.backends.asynq.new_task import NewTask

VERBS = ("run_now", "archive", "delete")


async def enqueue(field: Field, tasks: Sequence[NewTask], loss: Loss | None = None) -> None:
    """A producer sends tasks, and again when it gets no answer."""
    field.note("enqueue %d: %s %s", len(tasks), [task.id for task in tasks[:3]], loss)
    field.client_rig.begin(loss)
    answers = None
    while answers is None:
        try:
            answers = await field.client.enqueue_many(tasks)
        except BackendUnavailableError:
            require(field.client_rig.lost, "a producer got no answer although nothing was lost")
            field.model.events["replies lost: enqueue"] += 1
            field.client_rig.begin()
    seen = await field.look({name: [task.id.encode() for task in tasks if task.queue == name] for name in NAMES})
    for task, answer in zip(tasks, answers, strict=True):
        refused = _refusal(field, task)
        if refused is None:
            _enter(field, task, seen[task.queue].rows.get(task.id.encode(), {}))
        if refused is None and loss is not None:  # the first try may have brought it in
            require(answer == task.id or isinstance(answer, TaskIdTakenError), "enqueue %s: %r", task.id, answer)
        else:
            require(type(answer) is type(refused or task.id), "enqueue %s: %r, expected %r", task.id, answer, refused)
        field.model.events["tasks enqueued" if refused is None else "tasks refused"] += 1
    field.confirm(seen)


def _refusal(field: Field, task: NewTask) -> RefusedError | None:
    """Why the protocol refuses it; None when it takes it."""
    known = field.model.tasks.get(task.id.encode())
    if known is not None:
        return TaskIdTakenError(task.queue, task.id)
    lock = QueueKeys(task.queue).unique(task.type or task.queue, task.payload)
    if task.unique_ttl and lock in field.model.locks:
        return DuplicateTaskError(task.queue, field.model.locks[lock][0].decode())
    return None


def _enter(field: Field, task: NewTask, seen: dict[bytes, bytes]) -> None:
    """Into the model, as asynq would store it."""
    model = field.model
    task_id = task.id.encode()
    queue = model.queues[task.queue]
    message = decode_message(seen.get(b"msg", b""))
    kind = task.type or task.queue
    lock = QueueKeys(task.queue).unique(kind, task.payload) if task.unique_ttl else ""
    expected = [kind, task.payload, task.id, task.queue, task.max_retry, 0, task.retention, task.deadline, lock]
    stored: list[object] = [message.type, message.payload, message.id, message.queue, message.retry, message.retried]
    stored += (message.retention, message.deadline, message.unique_key)
    require(stored == expected, "message of %s: %s, expected %s", task.id, stored, expected)
    row = {b"msg": seen[b"msg"]}
    if lock:
        lasts = math.ceil(task.unique_ttl + max(0.0, task.process_at - field.now))
        model.locks[lock] = (task_id, field.clock.micros // 1000 + lasts * 1000)
        row[b"unique_key"] = lock.encode()
    if task.process_at > field.now:
        row[b"state"] = b"scheduled"
        queue.sets["scheduled"][task_id] = math.ceil(task.process_at)
    else:
        row |= {b"state": b"pending", b"pending_since": field.clock.nanos}
        queue.pending.append(task_id)
    model.add(TaskFacts(task_id, task.queue, row, lookup=task.lookup))


async def pause(field: Field, queue: str, *, paused: bool) -> None:
    """An operator stops or resumes a queue."""
    field.note("%s %s", "pause" if paused else "resume", queue)
    field.client_rig.begin()
    model = field.model.queues[queue]
    if model.paused:
        model.paused_until = field.now
    done = await (field.client.pause(queue) if paused else field.client.unpause(queue))
    require(done == (model.paused != paused), "pause %s to %s: %s", queue, paused, done)
    model.paused = paused
    await field.check()


async def operate(field: Field, verb: str, task_id: bytes) -> None:
    """An operator does something to one task."""
    facts = field.model.tasks[task_id]
    field.note("%s %s", verb, task_id)
    field.client_rig.begin()
    state = (facts.row or {}).get(b"state", b"").decode()
    operation = getattr(field.client, verb)
    try:
        answer = await operation(task_id.decode(), facts.queue)
    except (TaskNotFoundError, TaskStateError) as error:
        answer = error
    if facts.row is None:
        require(isinstance(answer, TaskNotFoundError), "%s %s without a hash: %r", verb, task_id, answer)
    elif state == "active" or (verb, state) in {("run_now", "pending"), ("archive", "archived")}:
        require(isinstance(answer, TaskStateError), "%s %s in %s: %r", verb, task_id, state, answer)
    else:
        require(answer == state, "%s %s in %s: %r", verb, task_id, state, answer)
        _moved(field, verb, facts)
        field.model.events[f"operator: {verb}"] += 1
    await field.check({facts.queue: [task_id]})


def _moved(field: Field, verb: str, facts: TaskFacts) -> None:
    queue = field.model.queues[facts.queue]
    if facts.id in queue.pending:
        queue.pending.remove(facts.id)
    elif facts.id not in queue.lease:
        queue.active.pop(facts.id, None)  # a wait had taken hold of it; nobody's claim had
    for kind in KEPT:
        queue.sets[kind].pop(facts.id, None)
    facts.lost_at = None
    if verb == "delete":
        field.model.remove(facts, "deleted by an operator")
        return
    row = facts.known
    row.pop(b"token", None)
    row.pop(TTL, None)
    if verb == "archive":
        row[b"state"] = b"archived"
        queue.sets["archived"][facts.id] = int(field.now)
    else:
        row |= {b"state": b"pending", b"pending_since": field.clock.nanos}
        queue.pending.append(facts.id)
        field.model.freed(facts, "an operator ran it again")
