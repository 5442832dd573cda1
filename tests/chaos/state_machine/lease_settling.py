"""What a batch of settlements must do, predicted exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_model import require

from runqy_worker.backends.asynq.codec import decode_message
from runqy_worker.backends.asynq.records import Record
from runqy_worker.domain.settlement import Action

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field
    from chaos.state_machine.lease_model import QueueModel, TaskFacts

    from runqy_worker.backends.asynq.codec import TaskMessage
    from runqy_worker.domain.settlement import Settlement


def apply(
    field: Field, worker: Worker, settlements: Sequence[Settlement], rows: Mapping[bytes, dict[bytes, bytes]]
) -> list[bool]:
    """Enter one queue's batch into the model.

    Args:
        rows: As Redis has them now: where a message was written anew, its bytes are taken from here once its fields
            are right.

    Returns:
        For each settlement whether its token must have been valid.
    """
    flags = []
    released: list[bytes] = []
    archived: list[bytes] = []
    queue = field.model.queues[settlements[0].task.queue]
    for settlement in settlements:
        task = settlement.task
        task_id = task.id.encode()
        valid = field.model.is_valid(task.queue, task_id, task.token.encode())
        flags.append(valid)
        if not valid:
            continue
        facts = field.model.tasks[task_id]
        queue.active.pop(task_id, None)  # an injury may have taken it out of the list
        del queue.lease[task_id]
        facts.lost_at = None
        step = _Step(field, worker, queue=queue, facts=facts, settlement=settlement, seen=rows.get(task_id, {}))
        if settlement.action is Action.RELEASE:
            released.append(task_id)
        if settlement.action is Action.ARCHIVE:
            archived.append(task_id)
        step.make()
    queue.pending[:0] = released
    if archived:
        field.model.trim_archive(queue.name, field.lifecycle.archive_limit, archived)
    return flags


class _Step:
    """One settlement whose token is valid."""

    def __init__(
        self,
        field: Field,
        worker: Worker,
        *,
        queue: QueueModel,
        facts: TaskFacts,
        settlement: Settlement,
        seen: dict[bytes, bytes],
    ) -> None:
        self.field = field
        self.model = field.model
        self.queue = queue
        self.facts = facts
        self.settlement = settlement
        self.seen = seen
        self.worker = worker
        self.now = worker.clock.server_time()
        self.whole = int(self.now)
        self.nanos = b"%d" % int(self.now * 1e9)

    def make(self) -> None:
        """Change the model as the protocol changes Redis."""
        row = self.facts.known
        row.pop(b"token")
        action = self.settlement.action
        if action is Action.RELEASE:
            self._release(row)
        elif action is Action.RETRY:
            self._retry(row)
        elif action is Action.ARCHIVE:
            self._archive(row)
        elif action is Action.COMPLETE and self._message().retention:
            self._keep(row)
        else:
            done = action is Action.COMPLETE
            self.queue.processed += 1
            self.model.remove(self.facts, "completed, not kept" if done else "revoked")

    def _message(self) -> TaskMessage:
        """As it is stored; as the worker read it, when an injury has garbled it since."""
        if self.facts.is_readable():
            return self.facts.message()
        record = self.settlement.task.record
        require(isinstance(record, Record), "%s was not claimed from this backend", self.facts.id)
        assert isinstance(record, Record)
        return record.message

    def _release(self, row: dict[bytes, bytes]) -> None:
        since = self.facts.since
        if since is None:
            since = self.seen.get(b"pending_since")
        rerun = self.settlement.rerun
        row |= {b"state": b"pending", b"pending_since": self.nanos if rerun or not since else since}
        if rerun:
            row[b"reruns"] = b"%d" % (int(row.get(b"reruns", 0)) + 1)
        self.model.freed(self.facts, "released after it had begun" if rerun else "released before it began")

    def _retry(self, row: dict[bytes, bytes]) -> None:
        settlement = self.settlement
        self._rewrite(row, counted=settlement.counted)
        delay = settlement.retry_at - self.worker.clock.time()
        if delay > 0:
            row[b"state"] = b"retry"
            self.queue.sets["retry"][self.facts.id] = float(f"{self.now + delay:.3f}")
        else:
            row |= {b"state": b"pending", b"pending_since": self.nanos}
            self.queue.pending.append(self.facts.id)
        if settlement.death:
            row[b"deaths"] = b"%d" % (int(row.get(b"deaths", 0)) + 1)
        if settlement.counted:
            self._count_failure()
        self.model.freed(self.facts, "failed" if settlement.counted else "failed, not counted")

    def _archive(self, row: dict[bytes, bytes]) -> None:
        error = self.settlement.error
        self._rewrite(row, counted=False)
        row |= {b"state": b"archived", b"error_msg": error.encode(), b"last_failed_at": b"%d" % self.whole}
        row.pop(b"deaths", None)
        row.pop(b"reruns", None)
        self.queue.sets["archived"][self.facts.id] = self.whole
        self._count_failure()
        self.model.freed(self.facts, "")

    def _keep(self, row: dict[bytes, bytes]) -> None:
        settlement = self.settlement
        before = self._message()
        raw = self.seen.get(b"msg", b"")
        stored = decode_message(raw)
        told = (stored.completed_at, stored.retention, stored.retried, stored.payload, stored.id, stored.unique_key)
        expected = (self.whole, before.retention, before.retried, before.payload, before.id, before.unique_key)
        require(told == expected, "completed message of %s: %s, expected %s", self.facts.id, told, expected)
        row |= {b"msg": raw, b"state": b"completed", b"completed_at": b"%d" % self.whole}
        if settlement.result is not None:
            row[b"result"] = settlement.result
        row.pop(b"deaths", None)
        row.pop(b"reruns", None)
        self.queue.sets["completed"][self.facts.id] = self.whole + before.retention
        self.queue.processed += 1
        self.model.unlock(before.unique_key, self.facts.id)
        self.model.freed(self.facts, "")

    def _rewrite(self, row: dict[bytes, bytes], *, counted: bool) -> None:
        """The message says how it failed, and is otherwise what it was."""
        if not self.seen and self.settlement.action is Action.ARCHIVE:
            return  # trimmed at once
        before = self._message()
        retried = before.retried if self.facts.is_readable() else self.settlement.task.retried
        raw = self.seen.get(b"msg", b"")
        stored = decode_message(raw)
        told = [stored.retried, stored.error_msg, stored.last_failed_at, *_lasting(stored)]
        expected = [retried + counted, self.settlement.error, self.whole, *_lasting(before)]
        require(told == expected, "failed message of %s: %s, expected %s", self.facts.id, told, expected)
        row[b"msg"] = raw

    def _count_failure(self) -> None:
        self.queue.processed += 1
        self.queue.failed += 1


def _lasting(message: TaskMessage) -> list[object]:
    """What no attempt changes."""
    return [message.retry, message.payload, message.retention, message.deadline, message.unique_key, message.timeout]
