"""Accounts for every task: where it ended, how often it was executed, and what explains more than once."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runqy_worker.backends.asynq.task_info import TaskInfo

REPORTS = "RUNQY_CHAOS_REPORTS"
"""The environment variable that names a directory for the accounts."""
SHOWN = 10


@dataclass(frozen=True)
class Ending:
    """How a task must stand in the end.

    Attributes:
        states: The places it may be in.
        error: A pattern that its last error must match; empty for any.
        runs: The least number of executions.
        charged: Whether attempts or deaths may have been charged to it.
    """

    states: frozenset[str] = frozenset({"completed"})
    error: str = ""
    runs: int = 1
    charged: bool = False


COMPLETED = Ending()


@dataclass(frozen=True)
class Account:
    """What a scenario came to.

    Attributes:
        scenario: Its name.
        tried: Tasks that Redis acknowledged.
        endings: How many tasks ended in each place.
        injuries: How often each injury was inflicted.
        lost: Tasks that are nowhere.
        duplicates: Executions beyond the first, by what explains them.
        figures: Anything else that was measured.
    """

    scenario: str
    tried: int
    endings: Mapping[str, int]
    injuries: Mapping[str, int]
    lost: int
    duplicates: Mapping[str, int]
    figures: Mapping[str, float]


@dataclass
class Ledger:
    """The book of one scenario.

    Attributes:
        scenario: Its name, as the report shows it.
        endings: The tasks that Redis acknowledged, and how each must end.
        injuries: How often each injury was inflicted.
        figures: Anything else worth reporting: seconds, counts.
    """

    scenario: str
    endings: dict[str, Ending] = field(default_factory=dict)
    injuries: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float] = field(default_factory=dict)
    _excuses: dict[str, list[str]] = field(default_factory=dict)

    def enter(self, ids: Iterable[str], ending: Ending = COMPLETED) -> None:
        """These tasks were acknowledged by Redis and must end so."""
        self.endings.update(dict.fromkeys(ids, ending))

    def injure(self, what: str, excused: Iterable[str] = ()) -> None:
        """An injury was inflicted. Each of the `excused` tasks may be executed once more because of it."""
        self.injuries[what] += 1
        for task_id in excused:
            self._excuses.setdefault(task_id, []).append(what)

    def close(self, places: Mapping[str, Sequence[str]], infos: Sequence[TaskInfo], runs: Counter[str]) -> Account:
        """Compare with what Redis holds and what was executed.

        Args:
            places: The ids in each place: pending, active, scheduled, retry, archived, completed.
            infos: The entered tasks as they stand, in the order of `endings`.
            runs: Executions begun, by task.

        Raises:
            AssertionError: A task is lost, in two places, not where it must be, wrongly charged, never executed, or
                executed more often than the injuries explain. All of it at once.
        """
        where: dict[str, list[str]] = {}
        for place, ids in places.items():
            for task_id in ids:
                where.setdefault(task_id, []).append(place)
        wrong: dict[str, list[str]] = {}
        duplicates: Counter[str] = Counter()
        lost = 0
        for (task_id, ending), info in zip(self.endings.items(), infos, strict=True):
            found = where.pop(task_id, [])
            lost += not found
            for complaint in self._complaints(ending, info, found, runs[task_id], len(self._excuses.get(task_id, ()))):
                wrong.setdefault(complaint, []).append(task_id)
            duplicates.update(self._excuses.get(task_id, [])[: max(0, runs[task_id] - 1)])
        if where:
            wrong["was never enqueued by the scenario"] = list(where)
        account = Account(
            scenario=self.scenario,
            tried=len(self.endings),
            endings=dict(Counter(info.state for info in infos)),
            injuries=dict(self.injuries),
            lost=lost,
            duplicates=dict(duplicates),
            figures=self.figures,
        )
        self._store(account)
        assert not wrong, "\n".join(f"{len(ids)} x {what}: {ids[:SHOWN]}" for what, ids in wrong.items())
        return account

    @staticmethod
    def _complaints(ending: Ending, info: TaskInfo, found: list[str], runs: int, excuses: int) -> Iterable[str]:
        if len(found) != 1:
            yield f"is in {len(found)} places ({', '.join(found) or 'lost'})"
        if info.state not in ending.states or (found and info.state not in found):
            yield f"is {info.state} in {found}, not {'/'.join(sorted(ending.states))}"
        if not re.search(ending.error, info.error):
            yield f"has the error {info.error!r}, not {ending.error!r}"
        if not ending.charged and (info.retried or info.deaths):
            yield f"was charged {info.retried} attempts and {info.deaths} deaths"
        if runs < ending.runs:
            yield f"was executed {runs} times, not at least {ending.runs}"
        if runs > max(1, ending.runs) + excuses:
            yield f"was executed {runs} times, and {excuses} injuries explain a repetition"

    @staticmethod
    def _store(account: Account) -> None:
        directory = os.environ.get(REPORTS)
        if directory:
            path = Path(directory) / f"{re.sub(r'[^a-z0-9]+', '-', account.scenario.lower())}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(account), indent=2) + "\n")
