"""What tasks are made of, and what becomes of them in a worker's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.state_machine.lease_actors import MAX_DEATHS, MAX_RERUNS
from chaos.state_machine.lease_field import NAMES
from chaos.state_machine.lease_model import require

from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.domain.outcome import Completed, Failed, Released, Revoked
from runqy_worker.domain.settlement import Action

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from chaos.state_machine.lease_actors import Worker
    from chaos.state_machine.lease_field import Field

    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

KINDS = ("plain", "kept", "scheduled", "unique", "deadline", "frail")
OUTCOMES: dict[str, Outcome] = {
    "completed": Completed(b'{"ok": [1, 2]}'),
    "completed without a result": Completed(),
    "failed": Failed("boom"),
    "failed for good": Failed("no use", retryable=False),
    "died": Failed("killed by signal 9", death=True),
    "interrupted": Released(begun=True, reason="the process ended"),
    "not begun": Released(reason="draining"),
    "revoked": Revoked(),
}


def make_task(field: Field, kind: str, queue: str, amount: int) -> NewTask:
    """One of `KINDS`; `amount` says how long, how often, and which of the few unique payloads."""
    number = field.model.events["tasks made"]
    field.model.events["tasks made"] += 1
    task = NewTask(queue, b'{"n": %d}' % number, type="work", id=f"t{number}", max_retry=3, lookup=number % 8 == 0)
    if kind == "kept":
        task.retention = 3_600 if amount == 0 else (2, 5, 20)[amount % 3]
    elif kind == "scheduled":
        task.process_at = field.now + (0.4, 7, 90, 5_000)[amount % 4]
    elif kind == "unique":
        task.payload = b'{"one of": %d}' % (amount % 5)
        task.unique_ttl = (2, 40, 4_000)[amount % 3]
        task.retention = (0, 30)[amount % 2]
    elif kind == "deadline":
        task.deadline = int(field.now) + (1, 20, 3_600)[amount % 3]
    elif kind == "frail":
        task.max_retry = 0
    return task


def make_tasks(field: Field, rng: random.Random, count: int) -> list[NewTask]:
    """A mixture; most are plain or kept."""
    kinds = rng.choices(KINDS, (50, 30, 8, 4, 3, 5), k=count)
    queue = rng.choice((*NAMES, ""))
    return [make_task(field, kind, queue or rng.choice(NAMES), rng.randrange(60)) for kind in kinds]


def decide(field: Field, worker: Worker, tasks: Sequence[Task], outcomes: Sequence[str]) -> list[Settlement]:
    """What the worker's engine makes of these outcomes, held against what was promised to tasks."""
    settlements = []
    for task, name in zip(tasks, outcomes, strict=True):
        outcome = OUTCOMES[name]
        settlement = worker.verdicts.before_start(task) or worker.verdicts.settle(task, outcome)
        if settlement.action is Action.ARCHIVE:
            _require_reason(field, worker, settlement, outcome)
        settlements.append(settlement)
    return settlements


def _require_reason(field: Field, worker: Worker, settlement: Settlement, outcome: Outcome) -> None:
    """A task is archived only when it must be, and the error says why."""
    task = settlement.task
    facts = field.model.tasks.get(task.id.encode())
    if facts is None or facts.row is None or not facts.is_readable():
        return
    message, row = facts.message(), facts.row
    deaths, reruns = int(row.get(b"deaths", 0)), int(row.get(b"reruns", 0))
    died = isinstance(outcome, Failed) and outcome.death
    worn = reruns >= MAX_RERUNS and (message.retried >= message.retry or deaths + 1 >= MAX_DEATHS)
    reasons = {
        "deadline passed": bool(message.deadline) and worker.clock.time() >= message.deadline,
        "poison": deaths + 1 >= MAX_DEATHS and (died or reruns >= MAX_RERUNS or deaths >= MAX_DEATHS),
        "interrupted": worn,
        "no use": isinstance(outcome, Failed) and not outcome.retryable,
        "boom": message.retried >= message.retry,
        "killed": message.retried >= message.retry,
    }
    why = [reason for reason in reasons if settlement.error.startswith(reason)]
    if field.model.is_valid(task.queue, facts.id, task.token.encode()):
        require(why and reasons[why[0]], "%s archived as %r: %s %s", task, settlement.error, reasons, row)
        field.model.events[f"archived: {why[0]}"] += 1
