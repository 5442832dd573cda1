"""The two ports. A backend is where tasks live; an executor is what runs them. The engine knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task


class Backend(Protocol):
    """Where tasks live. One instance serves the queues of one parent queue, by the engine's single event loop.

    Every coroutine may raise `BackendUnavailableError` (try again later) or its subclass `BackendAuthError`.
    All are safe to repeat: tokens make a repeated claim, renewal, settlement or release harmless.
    None may be cancelled in the middle, except `wait` and `listen`.
    """

    async def open(self) -> None:
        """Connect and prepare. Raises `BackendUnavailableError` when it can't be reached."""

    async def wait(self) -> None:
        """Block until `claim` may find something, or until `interrupt`. May return early, never too late.

        What it took hold of while waiting is handed out by the next `claim` or put back by the next `stop_waiting`.
        """

    async def stop_waiting(self) -> None:
        """Close any consuming wait, and give back at once, uncharged, what it had taken hold of."""

    async def claim(self, want: int) -> list[Task]:
        """Take up to `want` tasks, each under a lease, oldest first within the queues' priorities.

        Surplus that a wait had taken hold of goes back to the front in the same round trip.
        """

    async def renew(self, tasks: Sequence[Task]) -> list[bool]:
        """Extend the leases. False where the token is void: the task is someone else's now."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write outcomes, also releases. False where the token was void: nothing was written for that task.

        When this raises, `Settlement.accepted` tells those that were answered all the same; only the others are to be
        sent again.
        """

    async def upkeep(self) -> float:
        """Do what is due of the queues' chores: forward, recover, sweep, purge. Returns seconds until the next."""

    async def listen(self, on_cancel: Callable[[str], None]) -> None:
        """Call `on_cancel(task_id)` for each cancellation that is asked for. Runs until cancelled."""

    async def is_empty(self) -> bool:
        """Whether nothing is pending, scheduled, waiting for a retry, or in this backend's hands (for `--burst`)."""

    async def close(self) -> None:
        """Disconnect. Nothing may be called afterwards."""


class ExecutorState(Enum):
    """What an executor can do now."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    RECOVERING = "recovering"
    DEGRADED = "degraded"


class Sink(Protocol):
    """What an executor reports to: the engine. Called synchronously on the event loop's thread."""

    def finished(self, task: Task, outcome: Outcome) -> None:
        """An attempt ended. The slot is free when `Executor.room` says so, which it may already."""

    def state_changed(self) -> None:
        """`state` or `room` changed for another reason than a finished task."""


@dataclass(frozen=True, slots=True)
class ExecutorHealth:
    """A snapshot for status, heartbeat and metrics.

    Attributes:
        state: What it can do now.
        restarts: Restarts in the current series of crashes.
        crashes: Crashes since the start.
        last_crash: Reason of the last one; empty when there was none.
        pids: Process ids of the live children.
        fault: What broke in the supervision itself, so that nobody restarts the process; empty when nothing did.
    """

    state: ExecutorState
    restarts: int = 0
    crashes: int = 0
    last_crash: str = ""
    pids: tuple[int, ...] = ()
    fault: str = ""


class Executor(Protocol):
    """What runs a task. Enforces timeouts, because only it knows when an attempt can have begun."""

    def attach(self, sink: Sink) -> None:
        """Say where outcomes go. Called once, before `start`."""

    async def start(self) -> None:
        """Make it ready to run tasks. Raises `ExecutorStartError`."""

    def room(self) -> int:
        """How many tasks `run` would take now; 0 unless ready."""

    def run(self, task: Task) -> None:
        """Hand over a task; only when `room() > 0`. Exactly one `Sink.finished` follows, sooner or later."""

    def cancel(self, task_id: str) -> bool:
        """End the attempt of a running task, as a cancellation. False when it isn't running here."""

    def abandon(self, task: Task) -> None:
        """The task is no longer ours (void token): end the work on it if that harms no other; report nothing."""

    def health(self) -> ExecutorHealth:
        """What it is doing."""

    async def stop(self, grace: float) -> None:
        """End all processes: SIGTERM, then SIGKILL after `grace` seconds; report unfinished tasks as Released."""
