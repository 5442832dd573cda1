"""What happened, told once. The engine, the executors and the deployment emit; telemetry listens.

Events of the hot path (a task started or ended) are plain methods with few arguments, so that an idle listener
costs nothing. Everything else is one `Notice`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task


class Level(IntEnum):
    """Severity; the numbers are those of the standard library's logging."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(slots=True)
class Notice:
    """Something worth a line in the log.

    Attributes:
        action: Stable snake_case name (`child_crashed`, `deploy_finished`, ...), for machines.
        message: One sentence for people.
        level: Severity.
        task: The task it concerns, if one.
        fields: More facts, by snake_case name. Never secrets.
    """

    action: str
    message: str
    level: Level = Level.INFO
    task: Task | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


class Listener(Protocol):
    """Receives events. Must be quick and must not raise; called on the event loop's thread."""

    def task_started(self, task: Task) -> None:
        """A task was handed to its process."""

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """The backend took the settlement, or (accepted False) the token was void and it was dropped."""

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        """Task code printed a line (`stream` is `stdout` or `stderr`); `task` where it can be known."""

    def notice(self, notice: Notice) -> None:
        """Anything else."""


class Silent:
    """A listener that does nothing; the default, and a base for listeners that want only some events."""

    def task_started(self, task: Task) -> None:
        """Ignore it."""

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Ignore it."""

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        """Ignore it."""

    def notice(self, notice: Notice) -> None:
        """Ignore it."""


class Fanout:
    """One listener that passes each event on to several."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = list(listeners)

    def add(self, listener: Listener) -> None:
        """Let `listener` hear what happens from now on."""
        self._listeners.append(listener)

    def task_started(self, task: Task) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.task_started(task)

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.task_settled(settlement, accepted)

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.task_output(task, stream, line)

    def notice(self, notice: Notice) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.notice(notice)
