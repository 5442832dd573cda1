"""The protocol as a model in plain Python: where each task is, who holds it, and what Redis must show of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from chaos.state_machine.lease_snapshot import SETS

from runqy_worker.backends.asynq.codec import CodecError, decode_message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from chaos.state_machine.lease_snapshot import Seen

    from runqy_worker.backends.asynq.codec import TaskMessage

GHOST = b"ghost-"
"""Begins ids that never had a task."""
KEPT = ("scheduled", "retry", "archived", "completed")


class Violation(AssertionError):  # noqa: N818 - a promise that was broken, not an error of the program
    """Redis or the program did what the protocol forbids."""


def require(condition: object, message: str, *facts: object) -> None:
    """Raise `Violation` unless the condition holds; `facts` are filled into the message's `%s`."""
    if not condition:
        raise Violation(message % facts)


class TaskFacts:
    """What the model knows of one task.

    Attributes:
        row: Its hash as it must stand; None when an injury took it.
        holder: Name of the worker whose claim is valid; empty when nobody's is.
        lookup: Whether the server's record of its queue was written.
        lost_at: When an injury took it out of every list, by our clock; None while something lists it.
        claims: How often it was claimed.
        reason: Why it waits again, once it was claimed.
        since: `pending_since` when it was claimed last; None when it went through too many hands in one step to say.
        stray: An injury gave it a lease that nobody holds.
    """

    __slots__ = ("claims", "holder", "id", "lookup", "lost_at", "queue", "reason", "row", "since", "stray")

    def __init__(self, task_id: bytes, queue: str, row: dict[bytes, bytes] | None, *, lookup: bool = False) -> None:
        self.id = task_id
        self.queue = queue
        self.row = row
        self.holder = ""
        self.lookup = lookup
        self.lost_at: float | None = None
        self.claims = 0
        self.reason = ""
        self.since: bytes | None = b""
        self.stray = False

    @property
    def token(self) -> bytes | None:
        """Names the last claim of ours."""
        return self.row.get(b"token") if self.row is not None else None

    @property
    def known(self) -> dict[bytes, bytes]:
        """Its hash, which must exist."""
        if self.row is None:
            raise Violation(f"task {self.id!r} was handled although its hash is gone")
        return self.row

    def message(self) -> TaskMessage:
        return decode_message(self.known[b"msg"])

    def is_readable(self) -> bool:
        try:
            self.message()
        except CodecError:
            return False
        return True


class QueueModel:
    """What Redis must show of one queue.

    Attributes:
        pending: Who is next first.
        active: Members only; their order means nothing.
        sets: As `Seen.sets`.
        paused_until: When it was last paused, by our clock.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.pending: list[bytes] = []
        self.active: dict[bytes, None] = {}
        self.sets: dict[str, dict[bytes, float]] = {kind: {} for kind in SETS}
        self.paused = False
        self.paused_until = float("-inf")
        self.processed = 0
        self.failed = 0

    @property
    def lease(self) -> dict[bytes, float]:
        return self.sets["lease"]

    def unowned(self) -> set[bytes]:
        """Ids in active without a lease."""
        return self.active.keys() - self.lease.keys()

    def holds_leased(self, task_id: bytes) -> bool:
        """Whether somebody has claimed it."""
        return task_id in self.active and task_id in self.lease


class Model:
    """All queues, all tasks, all locks.

    Attributes:
        locks: Key of a unique lock -> (its holder, millisecond at which it expires).
        gone: Tasks that are no more, by reason.
        again: Claims beyond a task's first, by reason.
        events: Whatever else is worth counting.
        leftovers: Records of the queues of tasks whose hash was lost; nothing finds them any more.
    """

    def __init__(self, queues: Iterable[str]) -> None:
        self.queues = {name: QueueModel(name) for name in queues}
        self.tasks: dict[bytes, TaskFacts] = {}
        self.locks: dict[str, tuple[bytes, int]] = {}
        self.gone: Counter[str] = Counter()
        self.again: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.leftovers: set[bytes] = set()

    def add(self, facts: TaskFacts) -> None:
        """A new task. Where it is listed is for the caller to say."""
        self.tasks[facts.id] = facts

    def is_valid(self, queue: str, task_id: bytes, token: bytes) -> bool:
        """Whether this token is the one that holds the task: the last claim of ours, and the lease is one of ours."""
        facts = self.tasks.get(task_id)
        score = self.queues[queue].lease.get(task_id)
        return facts is not None and facts.token == token and score is not None and score != int(score)

    def claimed(self, facts: TaskFacts, holder: str) -> None:
        """Someone has it now."""
        facts.holder = holder
        facts.stray = False
        facts.claims += 1
        if facts.claims > 1:
            self.again[facts.reason or "unexplained"] += 1

    def freed(self, facts: TaskFacts, reason: str) -> None:
        """Nobody has it any more, and it waits again."""
        facts.holder = ""
        facts.reason = reason

    def remove(self, facts: TaskFacts, why: str) -> None:
        """Its hash is deleted, its lock with it if it has it; no list may hold it any more."""
        unique = (facts.row or {}).get(b"unique_key", b"").decode()
        self.unlock(unique, facts.id)
        del self.tasks[facts.id]
        self.gone[why] += 1
        if facts.row is None and facts.lookup:
            self.leftovers.add(facts.id)

    def unlock(self, key: str, task_id: bytes) -> None:
        """Release the lock if this task holds it."""
        if key in self.locks and self.locks[key][0] == task_id:
            del self.locks[key]

    def trim_archive(self, queue: str, limit: int, fresh: Collection[bytes]) -> None:
        """The oldest archived tasks go when there are more than `limit`, but none that was archived just now."""
        archived = self.queues[queue].sets["archived"]
        excess = len(archived) - limit
        if excess > 0:
            others = [task_id for task_id in archived if task_id not in fresh]
            for task_id in sorted(others, key=lambda each: (archived[each], each))[:excess]:
                del archived[task_id]
                if task_id in self.tasks:
                    self.remove(self.tasks[task_id], "archived, and trimmed by number")

    def pass_time(self, millis: int) -> None:
        """Locks expire."""
        for key in [key for key, (_, ends) in self.locks.items() if ends <= millis]:
            del self.locks[key]

    def check(self, queue: str, seen: Seen, *, full: bool) -> None:
        """Redis shows exactly what the model says.

        Args:
            seen: As Redis has it, with some or (`full`) all rows.
        """
        model = self.queues[queue]
        require(seen.pending == model.pending, "%s pending: %s, expected %s", queue, seen.pending, model.pending)
        _same_members(f"{queue} active", seen.active, model.active)
        for kind in SETS:
            if seen.sets[kind] != model.sets[kind]:
                _same_scores(f"{queue} {kind}", seen.sets[kind], model.sets[kind])
        require(seen.paused == model.paused, "%s paused: %s, expected %s", queue, seen.paused, model.paused)
        counters = (seen.processed, seen.failed)
        expected = (model.processed, model.failed)
        require(counters == expected, "%s processed and failed: %s, expected %s", queue, counters, expected)
        asked = seen.asked
        if full:
            asked = seen.rows.keys() | {facts.id for facts in self.tasks.values() if facts.queue == queue}
        for task_id in asked:
            facts = self.tasks.get(task_id)
            row = seen.rows.get(task_id)
            expected_row = facts.row if facts is not None else None
            if row != expected_row:
                _same_row(task_id, row, expected_row)
        if full:
            self._each_in_its_place(queue, seen)

    def _each_in_its_place(self, queue: str, seen: Seen) -> None:
        """Judged by Redis alone: every task is in exactly one place, and its state says which."""
        found: dict[bytes, list[str]] = {}
        for kind, ids in (
            ("pending", seen.pending),
            ("active", seen.active),
            *((kind, seen.sets[kind]) for kind in KEPT),
        ):
            for task_id in ids:
                found.setdefault(task_id, []).append(kind)
        lease = seen.sets["lease"]
        for task_id, row in seen.rows.items():
            facts = self.tasks[task_id]
            places = found.get(task_id, [])
            if facts.lost_at is not None:
                require(not places, "%s was put back by nobody, yet is in %s", task_id, places)
                continue
            require(len(places) == 1, "task %s is in %s", task_id, places or "no list")
            state = row[b"state"].decode()
            if places == ["active"] and (task_id not in lease or facts.stray):
                continue  # on its way to whoever waits for it: nobody's yet
            require(state == places[0], "task %s is in %s, its state is %s", task_id, places[0], state)
        for task_id in found:
            known = task_id in self.tasks or task_id.startswith(GHOST)
            require(known, "%s lists %s, which was deleted", queue, task_id)


def _same_members(what: str, seen: list[bytes], expected: dict[bytes, None]) -> None:
    require(len(seen) == len(set(seen)), "%s lists something twice: %s", what, seen)
    if expected.keys() != set(seen):
        more, missing = set(seen) - expected.keys(), expected.keys() - set(seen)
        raise Violation(f"{what}: unexpected {more}, missing {missing}")


def _same_scores(what: str, seen: dict[bytes, float], expected: dict[bytes, float]) -> None:
    differing = {
        task_id: (seen.get(task_id), expected.get(task_id))
        for task_id in seen.keys() | expected.keys()
        if seen.get(task_id) != expected.get(task_id)
    }
    raise Violation(f"{what}: id to (score, expected score): {differing}")


def _same_row(task_id: bytes, seen: dict[bytes, bytes] | None, expected: dict[bytes, bytes] | None) -> None:
    seen, expected = seen or {}, expected or {}
    differing = {
        field: (seen.get(field), expected.get(field))
        for field in seen.keys() | expected.keys()
        if seen.get(field) != expected.get(field)
    }
    raise Violation(f"hash of {task_id!r}: field to (value, expected value): {differing}")
