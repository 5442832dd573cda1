"""What a worker answers to those who probe it: does it live, can it run tasks, could it ever."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.events import Silent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runqy_worker.domain.events import Notice

_NEWS = frozenset({"ready", "child_ready", "executor_degraded"})
"""After these a worker may be ready for the first time."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one parent queue stands.

    Attributes:
        parent: Its name.
        doing: One word or few: `running`, `quiet`, `degraded`, `the backend does not answer`, ...
        able: Whether it can run tasks now.
        begun: Whether it was ever made ready.
    """

    parent: str
    doing: str
    able: bool
    begun: bool


class Probed(Protocol):
    """What is known of the worker."""

    def stall(self) -> str:
        """What makes no progress although it should; empty when all is well."""

    def standings(self) -> Sequence[Standing]:
        """How each parent queue stands."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one probe.

    Attributes:
        ok: Whether it is yes.
        status: The answer in a word or two.
        reason: Why not, where there is one reason.
        parents: What each parent queue does.
    """

    ok: bool
    status: str
    reason: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)

    def without_details(self) -> Verdict:
        """What everybody may know."""
        return Verdict(self.ok, self.status)

    def text(self) -> str:
        """For people."""
        lines = [f"{self.status}: {self.reason}" if self.reason else self.status]
        lines += [f"{parent}: {doing}" for parent, doing in self.parents.items()]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """For programs."""
        told = {"ok": self.ok, "status": self.status}
        told |= {"reason": self.reason} if self.reason else {}
        told |= {"queues": dict(self.parents)} if self.parents else {}
        return json.dumps(told) + "\n"


class Probes(Silent):
    """Answers probes, and listens for the moment at which the worker is ready for the first time."""

    def __init__(self, worker: Probed) -> None:
        self._worker = worker
        self._started = False

    def live(self) -> Verdict:
        """Whether it makes progress. That this is answered shows that the event loop turns; Redis does not matter."""
        stall = self._worker.stall()
        return Verdict(ok=False, status="not alive", reason=stall) if stall else Verdict(ok=True, status="alive")

    def ready(self) -> Verdict:
        """Whether it can run tasks: no parent queue is still at its start, and at least one is able to now."""
        standings = self._worker.standings()
        ok = self._is_ready(standings)
        self._started = self._started or ok
        parents = {standing.parent: standing.doing for standing in standings}
        return Verdict(ok, "ready" if ok else "not ready", parents=parents)

    def started(self) -> Verdict:
        """Whether it was ever ready."""
        verdict = self.ready()
        if self._started:
            return Verdict(ok=True, status="started")
        return Verdict(ok=False, status="not started", parents=verdict.parents)

    def notice(self, notice: Notice) -> None:
        """Look whether this made it ready: it may be quiet again before anybody asks."""
        if not self._started and notice.action in _NEWS:
            self._started = self._is_ready(self._worker.standings())

    @staticmethod
    def _is_ready(standings: Sequence[Standing]) -> bool:
        return all(standing.begun for standing in standings) and any(standing.able for standing in standings)
