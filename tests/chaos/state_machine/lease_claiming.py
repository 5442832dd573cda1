"""Judges a claim by what it returned and by what changed in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_model import require
from chaos.state_machine.lease_snapshot import TTL
from chaos.state_machine.lease_taking import UNKNOWN, drop, hand_over, take
from chaos.state_machine.lease_waits import absorb_waits, waited_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field
    from chaos.state_machine.lease_model import QueueModel, TaskFacts
    from chaos.state_machine.lease_snapshot import Seen

    from runqy_worker.domain.task import Task

_UNREADABLE = b"the task's message cannot be read"
_STANDING = 1.0
"""Seconds for which a worker believes a queue to be paused without looking again."""


def limbo_of(field: Field, worker: Worker) -> set[bytes]:
    """What the store holds for this worker that it was not handed yet: by waits, and by claims without an answer.

    Token and lease make it the worker's, also when somebody took it out of the list.
    """
    tasks = field.model.tasks
    unsent = {settlement.task.id.encode() for settlement in worker.unsent}
    return {
        task_id
        for queue in field.model.queues.values()
        for task_id in (*queue.active, *(queue.lease.keys() - queue.active.keys()))
        if task_id in tasks
        and tasks[task_id].holder == worker.name
        and task_id not in worker.hand
        and task_id not in unsent
    }


async def explain_claim(field: Field, worker: Worker, want: int, tasks: Sequence[Task] | None) -> None:
    """Enter into the model what the claim did, if the protocol allows it.

    Args:
        want: How many it asked for; 0 only gives back.
        tasks: What it returned; None when it failed.
    """
    found = await field.look()
    for name, seen in found.items():
        absorb_waits(field, name, seen, those_before=True)
    limbo = limbo_of(field, worker)
    unsure = worker.unsure or bool(limbo) or any(queue.unowned() for queue in field.model.queues.values())
    worker.unsure = tasks is None or worker.rig.lost
    got = 0
    left = {}
    for name, seen in found.items():
        returned = [task for task in tasks or () if task.queue == name]
        judged = _Claim(field, worker, name=name, seen=seen, returned=returned, limbo=limbo)
        judged.judge(complete=tasks is not None and not worker.rig.lost)
        got += judged.count
    field.confirm(found)
    for name, queue in field.model.queues.items():
        if not queue.paused and field.now - queue.paused_until >= _STANDING:
            left[name] = len(queue.pending)
    require(len(tasks or ()) <= want, "%s asked for %s and got %s", worker.name, want, tasks)
    if tasks is not None and not worker.rig.lost and not unsure and got < want:
        require(not any(left.values()), "%s asked for %s, got %s, left %s", worker.name, want, got, left)


class _Claim:
    """One queue's part of one claim."""

    def __init__(
        self,
        field: Field,
        worker: Worker,
        *,
        name: str,
        seen: Seen,
        returned: Sequence[Task],
        limbo: set[bytes],
    ) -> None:
        self.field = field
        self.worker = worker
        self.queue: QueueModel = field.model.queues[name]
        self.seen = seen
        self.returned = {task.id.encode(): task for task in returned}
        require(len(self.returned) == len(returned), "a claim returned a task twice: %s", returned)
        self.limbo = limbo & (self.queue.active.keys() | self.queue.lease.keys())
        self.count = 0
        if not field.always_full:
            seen.asked = self._touched()
            seen.rows = field.eye.rows(name, seen.asked)

    def _touched(self) -> set[bytes]:
        seen, queue = self.seen, self.queue
        lease = seen.sets["lease"]
        leased = {task_id for task_id, score in lease.items() if queue.lease.get(task_id) != score}
        archived = seen.sets["archived"].keys() - queue.sets["archived"].keys()
        moved = (queue.active.keys() | set(queue.pending)) - set(seen.pending) - set(seen.active)
        back = queue.active.keys() & set(seen.pending)
        return leased | archived | moved | back | self.limbo | self.returned.keys()

    def judge(self, *, complete: bool) -> None:
        """Explain every change, or raise `Violation`."""
        queue, seen = self.queue, self.seen
        lease, active = seen.sets["lease"], set(seen.active)
        tasks = self.field.model.tasks
        waited = waited_ids(self.field, queue.name)
        pending_before = dict.fromkeys(queue.pending)
        leased = [
            task_id
            for task_id in seen.active
            if task_id in lease and (task_id in self.returned or (task_id not in waited and self._is_news(task_id)))
        ]
        archived = seen.sets["archived"].keys() - queue.sets["archived"].keys()
        pending_now = dict.fromkeys(seen.pending)
        dropped = [
            task_id
            for task_id in (*queue.pending, *queue.active)
            if task_id not in pending_now
            and task_id not in active
            and task_id not in archived
            and task_id not in waited
        ]
        held = queue.active.keys() | self.limbo
        back = [task_id for task_id in (*waited, *seen.pending) if task_id in held]
        popped = [each for each in (*leased, *archived, *dropped) if each in pending_before]

        require(self.returned.keys() <= set(leased), "returned without a lease: %s", self.returned.keys() - set(leased))
        if complete:
            silent = set(leased) - self.returned.keys()
            require(not silent, "%s took %s and did not say so", self.worker.name, silent)
        line = [task_id for task_id in queue.pending if task_id not in waited] if waited else queue.pending
        require(set(line[: len(popped)]) == set(popped), "not the first in line: %s of %s", popped, line)
        if queue.paused:
            require(not popped, "taken from a paused queue: %s", popped)
        self._require_order([task_id for task_id in self.returned if task_id in pending_before], pending_before)

        for task_id in leased:
            self._take(tasks[task_id], was_pending=task_id in pending_before)
        for task_id in archived:
            self._archive(tasks.get(task_id), task_id)
        for task_id in dropped:
            self._drop(task_id)
        for task_id in back:
            self._give_back(tasks.get(task_id), task_id)
        gone = set(popped)
        queue.pending = back + [task_id for task_id in queue.pending if task_id not in gone]
        if archived:
            self.field.model.trim_archive(queue.name, self.field.lifecycle.archive_limit, archived)
        self.count = len(leased) + len(archived) + len(dropped)

    def _is_news(self, task_id: bytes) -> bool:
        """Whether it was leased during the step, or found again under another token."""
        if self.queue.lease.get(task_id) != self.seen.sets["lease"][task_id]:
            return True
        token = self.seen.rows.get(task_id, {}).get(b"token")
        return task_id in self.limbo and token != self.field.model.tasks[task_id].token

    def _require_order(self, returned: list[bytes], line: dict[bytes, None]) -> None:
        places = {task_id: at for at, task_id in enumerate(line)}
        order = [places[task_id] for task_id in returned]
        require(order == sorted(order), "not in the order of the line: %s", returned)

    def _may_take(self, task_id: bytes) -> bool:
        """Whether it may, besides what is pending: its own of a lost claim, and what is nobody's.

        Somebody's wait may have taken hold of the latter; who claims it first has it.
        """
        return task_id in self.limbo or (task_id in self.queue.active and task_id not in self.queue.lease)

    def _take(self, facts: TaskFacts, *, was_pending: bool) -> None:
        task_id = facts.id
        score = self.seen.sets["lease"][task_id]
        row = self.seen.rows[task_id]
        again = task_id in self.limbo
        kept = again and self.queue.lease[task_id] == score and facts.token == row.get(b"token")
        require(was_pending or self._may_take(task_id), "%s took %s from %r", self.worker.name, task_id, facts.holder)
        require(again or not self.queue.paused, "%s of a paused queue was handed out", task_id)
        if not kept:
            take(self.field, self.worker, facts, row, score, again=again)
        task = self.returned.get(task_id)
        if task is not None:
            token = row.get(b"token", b"")
            require(task.token.encode() == token, "%s was given the token %s, not %s", task_id, task.token, token)
            hand_over(self.worker, task, facts)

    def _archive(self, facts: TaskFacts | None, task_id: bytes) -> None:
        """Its message can't be read: it was taken and archived at once."""
        require(facts is not None, "%s was archived although it was deleted", task_id)
        assert facts is not None
        require(not facts.is_readable(), "%s was archived by a claim", task_id)
        queue, now = self.queue, int(self.worker.clock.server_time())
        taken = task_id in queue.pending or self._may_take(task_id)
        require(taken, "%s archived %s, which it did not hold", self.worker.name, task_id)
        row = facts.known
        error = self.seen.rows[task_id].get(b"error_msg", b"")
        require(error.startswith(_UNREADABLE), "%s was archived: %s", task_id, error)
        for field in (b"pending_since", b"token", b"deaths", b"reruns", TTL):
            row.pop(field, None)
        row |= {b"state": b"archived", b"error_msg": error, b"last_failed_at": b"%d" % now}
        queue.active.pop(task_id, None)
        queue.lease.pop(task_id, None)
        queue.sets["archived"][task_id] = now
        queue.processed += 1
        queue.failed += 1
        facts.holder = ""
        self.field.model.events["archived: message cannot be read"] += 1

    def _drop(self, task_id: bytes) -> None:
        """An id without a task behind it."""
        taken = task_id in self.queue.pending or self._may_take(task_id)
        require(taken, "%s dropped %s, which it did not hold", self.worker.name, task_id)
        drop(self.field, self.queue.name, task_id)

    def _give_back(self, facts: TaskFacts | None, task_id: bytes) -> None:
        queue = self.queue
        require(self._may_take(task_id), "%s gave back %s, which it did not hold", self.worker.name, task_id)
        if queue.active.pop(task_id, None) is None and facts is not None:
            facts.lost_at = None
        if queue.lease.pop(task_id, None) is not None and facts is not None and facts.row is not None:
            facts.row.pop(b"token", None)
            now = int(self.worker.clock.server_time() * 1e9)
            passed_on = task_id not in self.seen.pending
            since = UNKNOWN if passed_on else self.seen.rows[task_id].get(b"pending_since", b"")
            known = {UNKNOWN, facts.since, self.field.clock.nanos, b"%d" % now}
            sure = facts.since is not None
            require(
                not sure or since in known,
                "%s was given back as pending since %s, expected one of %s",
                task_id,
                since,
                known,
            )
            facts.row |= {b"state": b"pending", b"pending_since": since}
            self.field.model.freed(facts, "taken and not wanted")
