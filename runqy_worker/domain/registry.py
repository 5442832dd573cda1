"""What a worker tells the world about itself, and the port that it is told through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class RunningTask:
    """One task that is running now.

    Attributes:
        started_at: Unix seconds.
        deadline: Unix seconds when its time is up; 0 when it has no limit.
    """

    id: str
    type: str
    payload: bytes
    queue: str
    started_at: float
    deadline: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the live log view.

    Attributes:
        ts: Unix milliseconds.
        src: `worker`, `stdout` or `stderr`.
        text: The line.
        seq: Its number, growing by one.
    """

    ts: int
    src: str
    text: str
    seq: int


@dataclass(frozen=True, slots=True)
class WorkerSnapshot:
    """The state of one worker at one beat.

    Attributes:
        worker_id: `<host>:<pid>:<8 hex>`; also the server id, so that both views match.
        queues: Full queue name -> priority.
        status: `bootstrapping`, `running` or `stopped` (the words that the runqy server knows).
        quiet: It claims nothing for now.
        metrics: JSON-ready figures of host and GPUs.
        recovery: JSON-ready state of the task code's processes, by parent queue.
    """

    worker_id: str
    host: str
    pid: int
    started_at: float
    concurrency: int
    queues: Mapping[str, int]
    strict_priority: bool
    status: str
    healthy: bool
    quiet: bool = False
    running: Sequence[RunningTask] = ()
    metrics: Mapping[str, object] = field(default_factory=dict)
    recovery: Mapping[str, object] = field(default_factory=dict)


class Registry(Protocol):
    """Where workers are listed. Each coroutine may raise `BackendUnavailableError`."""

    async def beat(self, snapshot: WorkerSnapshot, lines: Sequence[LogLine]) -> None:
        """Write the snapshot and append the new log lines; both expire when beats stop."""

    async def leave(self, worker_id: str) -> None:
        """Take the worker off the lists."""
