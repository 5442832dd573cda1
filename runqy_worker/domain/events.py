"""What happened, told once. The engine, the executors and the deployment emit; telemetry listens.

Events of the hot path (a task started or ended) are plain methods with few arguments, so that an idle listener
costs nothing. Everything else is one `Notice`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    """One listener that passes each event on to those of several that do something with it."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners: list[Listener] = []
        self._started: list[Callable[[Task], None]] = []
        self._settled: list[Callable[[Settlement, bool], None]] = []
        self._output: list[Callable[[Task | None, str, str], None]] = []
        for listener in listeners:
            self.add(listener)

    def add(self, listener: Listener) -> None:
        """Let `listener` hear what happens from now on."""
        self._listeners.append(listener)
        if _does(listener.task_started, Silent.task_started):
            self._started.append(listener.task_started)
        if _does(listener.task_settled, Silent.task_settled):
            self._settled.append(listener.task_settled)
        if _does(listener.task_output, Silent.task_output):
            self._output.append(listener.task_output)

    def task_started(self, task: Task) -> None:
        """Pass it on."""
        for started in self._started:
            started(task)

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Pass it on."""
        for settled in self._settled:
            settled(settlement, accepted)

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        """Pass it on."""
        for output in self._output:
            output(task, stream, line)

    def notice(self, notice: Notice) -> None:
        """Pass it on."""
        for listener in self._listeners:
            listener.notice(notice)


def _does(method: object, nothing: object) -> bool:
    """Whether it is worth calling for every task: one that does nothing costs as much as another that counts."""
    return getattr(method, "__func__", None) is not nothing
