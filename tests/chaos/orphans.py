"""Every kind of damage to a queue's data: ids without tasks, tasks without ids, ids in two places, nonsense."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from chaos.ledger import COMPLETED, Ending
from support.field import QUEUE

from runqy_worker.backends.asynq.codec import TaskMessage, encode_message
from runqy_worker.backends.asynq.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEYS = QueueKeys(QUEUE)
KEPT = Ending(runs=0)
ARCHIVED = Ending(states=frozenset({"archived"}), runs=0)
SETS = ("scheduled", "retry", "archived", "completed")
LISTS = ("pending", "active")
MEGABYTE = b"x" * (1 << 20)


@dataclass
class Planter:
    """Plants orphans, each under an id of its own.

    Attributes:
        endings: How each must end that is a task.
        ghosts: Those that are none, of which nothing may be left.
        unreadable: Tasks that must be archived with this in their error, but can't be read.
        planted: How many there are of each kind.
    """

    db: Any
    rounds: int = 0
    endings: dict[str, Ending] = field(default_factory=dict)
    ghosts: list[bytes] = field(default_factory=list)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    planted: dict[str, int] = field(default_factory=dict)

    def plant_all(self) -> None:
        """One of every kind."""
        self.rounds += 1
        now = time.time()
        for kind, plant in _kinds(self, now):
            task_id = f"orphan-{self.rounds:03}-{kind.replace(' ', '-')}"
            self.planted[kind] = self.planted.get(kind, 0) + 1
            plant(task_id)

    def hash(self, task_id: str | bytes, state: str | None, ending: Ending = COMPLETED, **fields: Any) -> None:
        """A task's hash, in no list; it must end so."""
        name = task_id if isinstance(task_id, str) else task_id.decode(errors="replace")
        settings = {"type": "work", "payload": b"{}", "id": name, "queue": QUEUE, "retry": 3, "retention": 600}
        msg = fields.pop("msg", None) or encode_message(TaskMessage(**(settings | fields.pop("message", {}))))
        mapping = {"msg": msg} | ({"state": state} if state is not None else {}) | fields
        self.db.hset(KEYS.task_prefix.encode() + name.encode(), mapping=mapping)
        self.endings[name] = ending

    def listed(self, task_id: str, *places: str, score: float | None = None) -> None:
        """Its id in these places."""
        for place in places:
            if place in LISTS:
                self.db.lpush(KEYS.prefix + place, task_id)
            else:
                self.db.zadd(KEYS.prefix + place, {task_id: time.time() - 1 if score is None else score})

    def task(
        self, task_id: str, state: str | None, *places: str, ending: Ending = COMPLETED, score: float | None = None
    ) -> None:
        """A hash with this state, and its id in these places."""
        self.hash(task_id, state, ending)
        self.listed(task_id, *places, score=score)

    def ghost(self, task_id: str, *places: str, score: float | None = None) -> None:
        """An id in these places, and no task."""
        self.listed(task_id, *places, score=score)
        self.ghosts.append(task_id.encode())

    def unreadable_message(self, task_id: str, msg: bytes, error: str) -> None:
        """A pending task with such a message."""
        self.hash(task_id, "pending", msg=msg)
        del self.endings[task_id]
        self.listed(task_id, "pending")
        self.unreadable[task_id.encode()] = error

    def payload_only(self, task_id: str) -> None:
        """A pending task that nobody can tell what to do with."""
        self.db.hset(KEYS.task(task_id), mapping={"payload": b"{}", "state": "pending"})
        self.listed(task_id, "pending")
        self.unreadable[task_id.encode()] = "neither a message nor a type"

    def empty_hash(self, task_id: str, *places: str) -> None:
        """What is left of a deleted task."""
        self.db.hset(KEYS.task(task_id), "state", "pending")
        self.ghost(task_id, *places)

    def other_type(self, task_id: str, *places: str) -> None:
        """An id whose key is no hash."""
        self.db.set(KEYS.task(task_id), "not a hash", ex=3600)
        self.listed(task_id, *places)
        self.ghosts.append(task_id.encode())

    def misnamed(self, task_id: str, **message: Any) -> None:
        """A pending task whose message names another task or queue."""
        self.hash(task_id, "pending", message=message)
        self.listed(task_id, "pending")

    def huge(self, task_id: str) -> None:
        """A pending task with more payload than a claim takes along."""
        self.hash(task_id, "pending", message={"payload": b'{"say":0,"pad":"' + MEGABYTE * 9 + b'"}'})
        self.listed(task_id, "pending")

    def bad_id(self, task_id: str) -> None:
        """A pending task whose id is not UTF-8."""
        raw = task_id.encode() + b"\xff"
        self.db.hset(
            KEYS.task_prefix.encode() + raw, mapping={"msg": encode_message(TaskMessage()), "state": "pending"}
        )
        self.db.lpush(KEYS.pending, raw)
        self.unreadable[raw] = "its id is not valid UTF-8"


def _kinds(plan: Planter, now: float) -> Iterable[tuple[str, Callable[[str], None]]]:
    """Each kind, and what plants it."""
    soon, later = now + 2.5, now + 4.5
    task, ghost = plan.task, plan.ghost
    yield "active without lease", lambda name: task(name, "active", "active")
    yield "waited for and never claimed", lambda name: task(name, "pending", "active")
    yield "lease without active", lambda name: task(name, "active", "lease", score=soon)
    yield "lapsed lease without active", lambda name: task(name, "active", "lease", score=now - 0.5)
    yield "pending with a stray lease", lambda name: task(name, "pending", "pending", "lease", score=later)
    yield "lease of nothing", lambda name: ghost(name, "lease", score=later)
    yield "active of nothing", lambda name: ghost(name, "active")
    yield "lease and active of nothing", lambda name: ghost(name, "lease", "active", score=soon)
    yield "pending of nothing", lambda name: ghost(name, "pending")
    for place in SETS:
        yield f"{place} of nothing", partial(_ghost_in, plan, place)
    for state in ("pending", "active", "scheduled", "retry", "nonsense", None):
        yield f"lost while {state}", partial(_lost, plan, state, COMPLETED)
    yield "lost while completed", lambda name: task(name, "completed", ending=KEPT)
    yield "lost while archived", lambda name: task(name, "archived", ending=ARCHIVED)
    yield "twice in pending", lambda name: task(name, "pending", "pending", "pending")
    yield "in pending and active", lambda name: task(name, "pending", "pending", "active")
    yield "in pending although held", lambda name: task(name, "active", "pending", "active", "lease", score=soon)
    yield (
        "in pending although completed",
        lambda name: task(name, "completed", "pending", "completed", ending=KEPT, score=now + 600),
    )
    yield (
        "in active although completed",
        lambda name: task(name, "completed", "active", "completed", ending=KEPT, score=now + 600),
    )
    yield "in retry although archived", lambda name: task(name, "archived", "retry", "archived", ending=ARCHIVED)
    yield "in scheduled although held", lambda name: task(name, "active", "scheduled", "active", "lease", score=soon)
    yield "in retry and pending", lambda name: task(name, "pending", "retry", "pending")
    for state in ("active", *SETS, "nonsense"):
        yield f"in pending as {state}", partial(_misplaced, plan, state, "pending")
    for place in ("scheduled", "retry"):
        for state in ("pending", "active", "completed"):
            yield f"in {place} as {state}", partial(_misplaced, plan, state, place)
    yield "in active as retry", lambda name: task(name, "retry", "active")
    yield "in completed as pending", lambda name: task(name, "pending", "completed", ending=KEPT, score=now + 600)
    yield "in archived as retry", lambda name: task(name, "retry", "archived", ending=ARCHIVED)
    yield "message is garbage", lambda name: plan.unreadable_message(name, b"\x0a\x7f???", "cannot be read: cut off")
    yield "message is text", lambda name: plan.unreadable_message(name, b"not protobuf at all", "cannot be read")
    yield "neither message nor type", plan.payload_only
    yield "nothing but a state", lambda name: plan.empty_hash(name, "pending")
    yield "nothing but a state and in no list", plan.empty_hash
    yield "id is not text", plan.bad_id
    yield "message of another task", lambda name: plan.misnamed(name, id="somebody")
    yield "message of another queue", lambda name: plan.misnamed(name, queue="jobs.elsewhere")
    for number in range(3):
        yield f"huge message {number}", plan.huge
    yield "pending and no hash but a string", lambda name: plan.other_type(name, "pending")
    yield "active and no hash but a string", lambda name: plan.other_type(name, "active")
    yield "retry and no hash but a string", lambda name: plan.other_type(name, "retry")
    yield "held and no hash but a string", lambda name: plan.other_type(name, "active", "lease")


def _ghost_in(plan: Planter, place: str, name: str) -> None:
    plan.ghost(name, place)


def _lost(plan: Planter, state: str | None, ending: Ending, name: str) -> None:
    plan.task(name, state, ending=ending)


def _misplaced(plan: Planter, state: str, place: str, name: str) -> None:
    plan.task(name, state, place)
