"""Enters into the model what open waits took, whoever's step it was that gave them something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_model import require
from chaos.state_machine.lease_snapshot import TTL
from chaos.state_machine.lease_taking import drop, take

if TYPE_CHECKING:
    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field
    from chaos.state_machine.lease_link import Waited
    from chaos.state_machine.lease_snapshot import Seen


def waited_ids(field: Field, queue: str) -> dict[bytes, None]:
    """Ids that went through a wait during the step: for the step itself they are pending."""
    ids: dict[bytes, None] = {}
    for _, waited in field.ended_waits(queue):
        ids |= dict.fromkeys((*waited.taken, *waited.dropped))
        if waited.moved is not None:
            ids[waited.moved] = None
    return ids


def absorb_waits(field: Field, queue: str, seen: Seen, *, those_before: bool = False) -> None:
    """Account for the waits on one queue that ended during the step.

    Args:
        those_before: Only those that could end before anything else of the step was done; the others come later.
    """
    model = field.model.queues[queue]
    for worker, waited in field.ended_waits(queue):
        if those_before and any(model.holds_leased(each) for each in (*waited.taken, *waited.dropped)):
            continue
        for task_id in waited.taken:
            if task_id in seen.pending:
                _passed_through(field, worker, seen, task_id)
                continue
            free = task_id in model.pending or (task_id in model.active and task_id not in model.lease)
            require(free, "a wait of %s took %s", worker.name, task_id)
            require(not model.paused, "a wait of %s took %s of a paused queue", worker.name, task_id)
            if task_id in model.pending:
                model.pending.remove(task_id)
            row = field.eye.rows(queue, [task_id])[task_id]
            take(field, worker, field.model.tasks[task_id], row, seen.sets["lease"].get(task_id, 0.0))
        for task_id in waited.dropped:
            if task_id in model.pending:
                model.pending.remove(task_id)
            drop(field, queue, task_id)
        _moved(field, queue, seen, waited)
        worker.rig.waited.remove(waited)


def _moved(field: Field, queue: str, seen: Seen, waited: Waited) -> None:
    """The id that was moved and is not claimed: it lies in active, or went back to the front."""
    model, moved = field.model.queues[queue], waited.moved
    if moved is None or moved not in seen.active or moved not in model.pending:
        return
    facts = field.model.tasks.get(moved)
    if moved not in seen.sets["lease"] or (facts is not None and facts.stray):
        model.pending.remove(moved)
        model.active[moved] = None


def _passed_through(field: Field, worker: Worker, seen: Seen, task_id: bytes) -> None:
    """It was taken and given back within one step."""
    facts = field.model.tasks[task_id]
    row = facts.known
    since = field.eye.rows(facts.queue, [task_id])[task_id].get(b"pending_since", b"")
    known = {row.get(b"pending_since"), field.clock.nanos, b"%d" % int(worker.clock.server_time() * 1e9)}
    require(since in known, "%s was given back as pending since %s, expected one of %s", task_id, since, known)
    row |= {b"pending_since": since, b"state": b"pending"}
    row.pop(TTL, None)
    row.pop(b"token", None)
