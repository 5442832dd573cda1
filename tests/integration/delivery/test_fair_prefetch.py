"""Prefetch must not cost fairness: no task waits at one worker for long while another has a free slot."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from support.field import Field, ScriptProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Span: TypeAlias = tuple[float, float]

WATCHING_WORKER = Path(__file__).with_name("watching_worker.py")
LONGEST_HOLD = 0.1
"""Seconds that a claimed task may wait at one worker while another is idle."""
BURSTS = 3
LONG = 2.0
"""Seconds that a long task takes: many times longer than anything that the workers' prefetch looks ahead."""


@dataclasses.dataclass
class Account:
    """What one worker did.

    Attributes:
        held: How long each task was claimed before it started, or was given back.
        returned: How many were given back.
        idle: When it had a free slot.
        stood: When its event loop did not get to run, because the machine was busy.
    """

    held: dict[str, Span] = dataclasses.field(default_factory=dict)
    returned: int = 0
    idle: list[Span] = dataclasses.field(default_factory=list)
    stood: list[Span] = dataclasses.field(default_factory=list)


def read_account(diary: Path) -> Account:
    """The diary of a worker with one slot."""
    account = Account()
    free_since: float | None = None
    for line in diary.read_text().splitlines():
        what, *rest = line.split()
        if what == "held":
            task_id, claimed, until = rest[0], float(rest[1]), float(rest[2])
            account.held[f"{task_id} {claimed}"] = (claimed, until)
            if rest[3] == "returned":
                account.returned += 1
            elif free_since is not None:
                account.idle.append((free_since, until))
                free_since = None
        elif what == "ended":
            free_since = float(rest[1])
        else:
            account.stood.append((float(rest[0]), float(rest[1])))
    return account


def overlap(span: Span, others: Iterable[Span]) -> list[Span]:
    """The parts of `span` that lie in one of the others."""
    parts = [(max(span[0], start), min(span[1], end)) for start, end in others]
    return [(start, end) for start, end in parts if start < end]


def total(spans: Iterable[Span]) -> float:
    return sum(end - start for start, end in spans)


def unfair_holds(holder: Account, other: Account) -> dict[str, float]:
    """Seconds that tasks waited at `holder` while `other` was idle and both got to run; only what is too long."""
    found = {}
    for name, span in holder.held.items():
        if span[1] - span[0] <= LONGEST_HOLD:
            continue
        seconds = 0.0
        for part in overlap(span, other.idle):
            stood = overlap(part, [*holder.stood, *other.stood])
            seconds += part[1] - part[0] - total(stood)
        if seconds > LONGEST_HOLD:
            found[name] = seconds
    return found


def burst(seed: int) -> Sequence[dict[str, float]]:
    """Tasks that take no time or 10 ms, and a long one in their midst."""
    rng = random.Random(seed)
    tasks = [{"sleep": rng.choice([0.0] * 9 + [0.01])} for _ in range(900)]
    tasks.insert(800, {"sleep": LONG})
    return tasks


def test_no_task_waits_at_a_busy_worker_for_long_while_another_has_a_free_slot(field: Field) -> None:
    field.settings["worker"]["concurrency"] = 1
    diaries = [field.directory / f"diary-{number}.txt" for number in range(2)]
    workers = []
    for number, diary in enumerate(diaries):
        config = field.write_config()
        config = config.rename(config.with_name(f"config-watching-{number}.yml"))
        command = [str(WATCHING_WORKER), "--config", str(config), "--diary", str(diary), "--seed", str(number)]
        workers.append(ScriptProcess(command, config.with_suffix(".log")))
    try:
        for worker in workers:
            worker.wait_for_line("ready")
        ids: list[str] = []
        for seed in range(BURSTS):  # at the end of each, one worker has nothing to do while the long task runs
            ids += field.put(burst(seed), prefix=f"b{seed}-")
            field.wait_settled(len(ids), seconds=60)
        field.assert_all_completed_once(ids)
    finally:
        codes = {worker.stop() for worker in workers}
    assert codes == {0}
    one, two = map(read_account, diaries)
    assert unfair_holds(one, two) == {}
    assert unfair_holds(two, one) == {}
    # The rule was put to the test: tasks were fetched ahead and given back, while the other worker had nothing to do.
    assert one.returned + two.returned > 0
    assert total(one.idle) + total(two.idle) > LONG / 2
