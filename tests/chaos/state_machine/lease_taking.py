"""What a claim does to one task, however it comes about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_actors import LEASE
from chaos.state_machine.lease_model import KEPT, require
from chaos.state_machine.lease_snapshot import TTL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field
    from chaos.state_machine.lease_model import TaskFacts

    from runqy_worker.domain.task import Task


UNKNOWN = b"(unknown)"
"""Stands for a `pending_since` that came and went within one step."""


def is_lease(field: Field, score: float) -> bool:
    """Whether it is one of ours, given now: as long as configured, with a fraction."""
    return score != int(score) and abs(score - field.now - LEASE.duration) < 0.005


def take(
    field: Field, worker: Worker, facts: TaskFacts, seen: Mapping[bytes, bytes], score: float, *, again: bool = False
) -> None:
    """Enter the claim into the model.

    Args:
        seen: The task's hash in Redis now.
        score: Its lease.
        again: It was this worker's already, and the worker did not know.
    """
    task_id = facts.id
    require(is_lease(field, score), "the lease of %s ends at %s, it is %s", task_id, score, field.now)
    token = seen.get(b"token", b"")
    require(token.startswith(f"{worker.name}/".encode()), "%s took %s as %s", worker.name, task_id, token)
    row = facts.known
    require(again or token != row.get(b"token"), "the token %s of %s was used before", token, task_id)
    since = row.pop(b"pending_since", b"")
    facts.since = None if since == UNKNOWN or again else since
    row |= {b"state": b"active", b"token": token}
    row.pop(TTL, None)
    queue = field.model.queues[facts.queue]
    queue.active[task_id] = None
    queue.lease[task_id] = score
    if not again:
        field.model.claimed(facts, worker.name)
        field.model.events["claims"] += 1


def drop(field: Field, name: str, task_id: bytes) -> None:
    """An id without a task behind it is removed from the lists."""
    queue = field.model.queues[name]
    facts = field.model.tasks.get(task_id)
    require(facts is None or facts.row is None, "%s was dropped although its task exists", task_id)
    queue.active.pop(task_id, None)
    queue.lease.pop(task_id, None)
    if facts is not None and not any(task_id in queue.sets[kind] for kind in KEPT):
        field.model.remove(facts, "its hash was lost")


def hand_over(worker: Worker, task: Task, facts: TaskFacts) -> None:
    """What the worker was told of the task is what is stored."""
    worker.hand[facts.id] = task
    if not facts.is_readable():
        return  # garbled since its wait took it
    row, message = facts.known, facts.message()
    told = [task.payload, task.type, task.max_retry, task.retried, task.deadline, task.deaths, task.reruns]
    stored: list[object] = [message.payload, message.type, message.retry, message.retried, message.deadline]
    stored += (int(row.get(b"deaths", 0)), int(row.get(b"reruns", 0)))
    require(told == stored, "%s was told as %s, is %s", task, told, stored)
    if facts.since is not None:
        since = int(facts.since) / 1e9 if facts.since else 0.0
        require(task.pending_since == since, "%s: told to be pending since %s, is %s", task, task.pending_since, since)
