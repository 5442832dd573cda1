"""Judges the chores: whatever they moved they may have moved, in its proper form, and what was due is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_actors import LEASE
from chaos.state_machine.lease_model import KEPT, require
from chaos.state_machine.lease_snapshot import TTL
from chaos.state_machine.lease_waits import waited_ids

from runqy_worker.backends.asynq.codec import decode_message
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field
    from chaos.state_machine.lease_link import Loss
    from chaos.state_machine.lease_model import TaskFacts
    from chaos.state_machine.lease_snapshot import Seen

GO_GRACE = 30
_LONGEST_SILENCE = LEASE.duration + LEASE.duration / 4
"""A worker that did no chores for longer may have slept; others could not renew if it was Redis that did."""
_LOOKS_APART = LEASE.recover_every
"""Seconds between two looks at what is mended after the second."""


async def upkeep(field: Field, worker: Worker, loss: Loss | None = None, after: int = 0, only: str = "") -> None:
    """A worker does what is due of the chores. With a loss, `Rig.begin` says of what."""
    field.note("%s does chores %s", worker.name, loss)
    rig = worker.rig
    rig.begin(loss, after, only)
    if field.now - worker.last_upkeep > _LONGEST_SILENCE:
        worker.in_touch_since = field.clock.monotonic()
    worker.last_upkeep = field.now
    worker.due_at = field.now
    try:
        worker.due_at = field.now + await worker.backend.upkeep()
    except BackendUnavailableError:
        require(rig.lost, "%s: chores failed although nothing was lost", worker.name)
        field.model.events["replies lost: chores"] += 1
    for sent in rig.sent:
        field.model.events[f"script: {sent.script}"] += 1
    await _explain(field, worker)
    _remember_sweep(field, worker)


async def _explain(field: Field, worker: Worker) -> None:
    found = await field.look()
    for name, seen in found.items():
        changed = set() if field.always_full else _changed(field, name, seen)
        if changed:
            seen.asked = changed
            seen.rows = field.eye.rows(name, changed)
        _Chores(field, worker, name, seen).judge()
    field.confirm(found)


def _changed(field: Field, name: str, seen: Seen) -> set[bytes]:
    """Whatever is listed elsewhere than before, or differently."""
    model = field.model.queues[name]
    ids = set(seen.pending) ^ set(model.pending) | set(seen.active) ^ model.active.keys()
    for kind, scores in seen.sets.items():
        if scores != model.sets[kind]:
            ids |= dict(scores.items() ^ model.sets[kind].items()).keys()
    return ids


def _remember_sweep(field: Field, worker: Worker) -> None:
    found = {}
    for sent in worker.rig.sent:
        if sent.script == "sweep":
            queue = sent.keys[0].split("{")[1].split("}")[0]
            found[queue] = (set(sent.reply[0]), set(sent.reply[1]))
    if found:
        worker.sightings.append((field.now, found))


class _Chores:
    """One queue's part of one worker's chores.

    A task may be moved twice in one go: recovered and then taken hold of by somebody's wait, which is entered
    afterwards and counts as pending here.
    """

    def __init__(self, field: Field, worker: Worker, name: str, seen: Seen) -> None:
        self.field = field
        self.worker = worker
        self.name = name
        self.queue = field.model.queues[name]
        self.seen = seen
        sent = [each for each in worker.rig.sent if any(f"{{{name}}}" in key for key in each.keys)]
        self.recoveries = [each for each in sent if each.script == "recover" and int(each.args[2])]  # others only try
        self.ran = {each.script for each in sent if each.script != "recover" or each in self.recoveries}
        self.now = field.now
        self.front: set[bytes] = set()
        self.back: set[bytes] = set()

    def judge(self) -> None:
        """Explain every change, or raise `Violation`."""
        seen, queue = self.seen, self.queue
        lease = seen.sets["lease"]
        waited = [task_id for task_id in waited_ids(self.field, self.name) if task_id not in seen.pending]
        pending_before = set(queue.pending)
        pending_now = {*seen.pending, *waited}
        active_now = set(seen.active).difference(waited)
        for kind in ("scheduled", "retry"):
            for task_id in list(queue.sets[kind].keys() - seen.sets[kind].keys()):
                self._forwarded(kind, task_id, arrived=task_id in pending_now)
        for task_id in [each for each in queue.active if each not in active_now]:
            self._ended(task_id, pending=task_id in pending_now)
        for task_id in [each for each in queue.lease if each not in lease]:
            self._lease_removed(task_id)
        for task_id in [each for each in active_now if each not in queue.active]:
            self._restored(task_id)
        for kind in ("completed", "archived"):
            for task_id in list(queue.sets[kind].keys() - seen.sets[kind].keys()):
                self._purged(kind, task_id)
        for task_id in self._found_again(pending_now) if "audit" in self.ran else ():
            self._audited(task_id, pending=task_id in pending_now)
        self._order(pending_before, waited)
        self._nothing_due_is_left()

    def _order(self, pending_before: set[bytes], waited: list[bytes]) -> None:
        """What was recovered is in front of those that waited already, whose order stays; the rest is behind."""
        queue = self.queue
        middle = queue.pending
        front = [task_id for task_id in (*waited, *self.seen.pending) if task_id in self.front]
        back = [task_id for task_id in (*waited, *self.seen.pending) if task_id in self.back]
        require(not (self.front | self.back) & pending_before, "became pending twice: %s", self.front | self.back)
        queue.pending = front + middle + back

    def _forwarded(self, kind: str, task_id: bytes, *, arrived: bool) -> None:
        score = self.queue.sets[kind].pop(task_id)
        require(score <= self.now, "%s of %s is due at %s and was moved at %s", task_id, kind, score, self.now)
        require("forward" in self.ran, "%s left %s although nothing forwards", task_id, kind)
        facts = self.field.model.tasks[task_id]
        if facts.row is None:
            require(not arrived, "%s was forwarded without a hash", task_id)
            self.field.model.remove(facts, "its hash was lost")
            return
        require(arrived, "%s left %s and is not pending", task_id, kind)
        self._becomes_pending(facts, front=False)
        self.field.model.events[f"forwarded from {kind}"] += 1

    def _becomes_pending(self, facts: TaskFacts, *, front: bool) -> None:
        row = facts.known
        row |= {b"state": b"pending", b"pending_since": self.field.clock.nanos}
        row.pop(TTL, None)
        (self.front if front else self.back).add(facts.id)

    def _ended(self, task_id: bytes, *, pending: bool) -> None:
        """It is in active no more."""
        del self.queue.active[task_id]
        score = self.queue.lease.pop(task_id, None)
        facts = self.field.model.tasks.get(task_id)
        if score is None:
            self._swept(task_id, facts, pending=pending)
        elif facts is None or facts.row is None:
            self._require_lapsed(task_id, score)
            require(not pending, "%s became pending without a hash", task_id)
            self._forget(facts, task_id)
        elif score != int(score):
            self._recovered(facts, score, pending=pending)
        else:
            self._taken_over(facts, score, pending=pending)

    def _require_lapsed(self, task_id: bytes, score: float) -> None:
        require(score <= self.now, "the lease of %s lasts until %s, it is %s", task_id, score, self.now)
        require("recover" in self.ran, "the lease of %s was removed although nothing recovers", task_id)
        connected_at = max(each.connected_at for each in self.recoveries)
        touch = self.field.clock.monotonic() - max(self.worker.in_touch_since, connected_at)
        require(touch >= LEASE.duration, "%s recovers after %.3f s in touch", self.worker.name, touch)

    def _recovered(self, facts: TaskFacts, score: float, *, pending: bool) -> None:
        self._require_lapsed(facts.id, score)
        require(pending, "%s was recovered and is not pending", facts.id)
        row = facts.known
        row.pop(b"token", None)
        for counter in (b"recovered", b"reruns"):
            row[counter] = b"%d" % (int(row.get(counter, 0)) + 1)
        self._becomes_pending(facts, front=True)
        self.field.model.freed(facts, "its lease ran out")
        self.field.model.events["recovered"] += 1

    def _taken_over(self, facts: TaskFacts, score: float, *, pending: bool) -> None:
        """A Go worker's: its lease ran out long ago, by this worker's clock."""
        cutoff = int(self.worker.clock.time()) - GO_GRACE
        require(
            score <= cutoff, "the Go lease of %s ended at %s, taken at %s", facts.id, score, self.worker.clock.time()
        )
        self._require_lapsed(facts.id, score)
        row = facts.known
        row.pop(b"token", None)
        if not facts.is_readable():
            require(pending, "%s can't be read and is not pending", facts.id)
            row[b"state"] = b"pending"
            self.front.add(facts.id)
            self.field.model.freed(facts, "taken over unread from a Go worker")
            return
        now = int(self.worker.clock.server_time())
        before = facts.message()
        raw = self.seen.rows.get(facts.id, {}).get(b"msg", b"")
        stored = decode_message(raw)
        kind = "retry" if before.retried < before.retry else "archived"
        told = (stored.retried, stored.error_msg, stored.last_failed_at)
        expected = (before.retried + (kind == "retry"), "asynq: task lease expired", now)
        require(told == expected, "%s taken over: %s, expected %s", facts.id, told, expected)
        at = self.seen.sets[kind].get(facts.id)
        require(at is not None, "%s was taken over and is not in %s", facts.id, kind)
        assert at is not None
        delay = at - now
        shortest = before.retried**4 + 15
        fair = delay == 0 if kind == "archived" else shortest <= delay <= shortest + 29 * (before.retried + 1)
        require(fair, "%s taken over: waits %s s", facts.id, delay)
        row |= {b"msg": raw, b"state": kind.encode()}
        self.queue.sets[kind][facts.id] = at
        self.queue.processed += 1
        self.queue.failed += 1
        self.field.model.freed(facts, "taken over from a Go worker")
        self.field.model.events["taken over from a Go worker"] += 1

    def _seen_before(self, task_id: bytes, which: int) -> bool:
        """Whether a sweep of this worker saw it, long enough ago."""
        return any(
            when <= self.now - _LOOKS_APART and task_id in found.get(self.name, (set(), set()))[which]
            for when, found in self.worker.sightings
        )

    def _swept(self, task_id: bytes, facts: TaskFacts | None, *, pending: bool) -> None:
        require("mend" in self.ran, "%s left active although nothing mends", task_id)
        require(self._seen_before(task_id, 0), "%s was mended at first sight", task_id)
        if facts is None or facts.row is None:
            require(not pending, "%s became pending without a hash", task_id)
            self._forget(facts, task_id)
            return
        require(pending, "%s was mended and is not pending", task_id)
        facts.known.pop(b"token", None)
        self._becomes_pending(facts, front=True)
        self.field.model.freed(facts, "it was active without a lease")
        self.field.model.events["swept back"] += 1

    def _forget(self, facts: TaskFacts | None, task_id: bytes) -> None:
        if facts is not None and not any(task_id in self.queue.sets[kind] for kind in KEPT):
            self.field.model.remove(facts, "its hash was lost")

    def _lease_removed(self, task_id: bytes) -> None:
        """A lease of a task that is not in active."""
        score = self.queue.lease.pop(task_id)
        require(task_id not in self.queue.active, "%s lost its lease and stayed active", task_id)
        facts = self.field.model.tasks.get(task_id)
        lapsed = score <= self.now and "recover" in self.ran and (facts is None or facts.row is None)
        require(lapsed or self._seen_before(task_id, 1), "the lease of %s was removed at first sight", task_id)
        self.field.model.events["stray leases removed"] += 1

    def _restored(self, task_id: bytes) -> None:
        """A claimed task that had dropped out of active is there again."""
        facts = self.field.model.tasks[task_id]
        require(facts.lost_at is not None and task_id in self.queue.lease, "%s became active", task_id)
        require(facts.known[b"state"] == b"active", "%s became active, its state is %s", task_id, facts.known[b"state"])
        require(self._seen_before(task_id, 1), "%s was listed again at first sight", task_id)
        self.queue.active[task_id] = None
        facts.lost_at = None
        self.field.model.events["listed again"] += 1

    def _purged(self, kind: str, task_id: bytes) -> None:
        score = self.queue.sets[kind].pop(task_id)
        require("purge" in self.ran, "%s left %s although nothing purges", task_id, kind)
        facts = self.field.model.tasks.get(task_id)
        if facts is None:
            return
        if facts.row is None:
            self.field.model.remove(facts, "its hash was lost")
            return
        keep = 0 if kind == "completed" else self.field.lifecycle.ttl_archived or 0
        require(
            score + keep <= int(self.now), "%s %s is kept until %s, purged at %s", kind, task_id, score + keep, self.now
        )
        self.field.model.remove(facts, f"{kind}, and its time was over")

    def _found_again(self, pending_now: set[bytes]) -> list[bytes]:
        """Tasks that were in no list and are now."""
        kept = self.seen.sets
        return [
            facts.id
            for facts in self.field.model.tasks.values()
            if facts.lost_at is not None
            and facts.queue == self.name
            and (facts.id in pending_now or facts.id in kept["completed"] or facts.id in kept["archived"])
        ]

    def _audited(self, task_id: bytes, *, pending: bool) -> None:
        facts = self.field.model.tasks[task_id]
        row = facts.known
        state = row[b"state"].decode()
        lost_for = self.now - (facts.lost_at or 0.0)
        require(lost_for >= _LOOKS_APART, "%s was put back after %.3f s: at first sight", task_id, lost_for)
        facts.lost_at = None
        self.field.model.events["audited back"] += 1
        if pending:
            require(state not in {"completed", "archived"}, "%s is %s and became pending", task_id, state)
            row.pop(b"token", None)
            self._becomes_pending(facts, front=False)
            self.field.model.freed(facts, "it was in no list")
        else:
            require(state in {"completed", "archived"}, "%s is %s and is kept as something else", task_id, state)
            self.queue.sets[state][task_id] = int(self.now) + (86400 if state == "completed" else 0)

    def _nothing_due_is_left(self) -> None:
        """A chore that ran to its end has done all that was due."""
        if self.worker.rig.lost:
            return
        queue, tasks = self.queue, self.field.model.tasks
        if "forward" in self.ran:
            for kind in ("scheduled", "retry"):
                left = [each for each, score in queue.sets[kind].items() if score <= self.now]
                require(not left, "%s was due and not forwarded from %s", left, kind)
        if "purge" in self.ran:
            left = [each for each, score in queue.sets["completed"].items() if score <= int(self.now)]
            require(not left, "%s was over and not purged", left)
        if self.recoveries and all(each.reply[0] != -1 for each in self.recoveries):
            left = [
                task_id
                for task_id, score in queue.lease.items()
                if score <= self.now and score != int(score) and task_id in queue.active and task_id in tasks
            ]
            require(not left, "the leases of %s ran out and nobody recovered them", left)
