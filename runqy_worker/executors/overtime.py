"""The clocks of the tasks in one child: when each one's time is up, and how long what follows may take.

A serial child works on one task at a time, so a clock runs for the first unanswered task only; in a parallel child for
every one. A task whose time is up, or that was cancelled or abandoned, is doomed: its answer no longer counts, but its
slot is taken until the answer comes or the process is gone. One timer per child serves them all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.outcome import Failed, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.task import Task

NEVER = float("inf")


@dataclass(slots=True)
class Doom:
    """What awaits a task whose answer no longer counts.

    Attributes:
        task: The task.
        verdict: Reported once its answer comes or the process is gone; None when there is nothing more to report.
        end_at: Monotonic second at which the process is ended for it; `NEVER` while it can't have begun.
        blocking: Its time is up, so the child gets no new lines.
        sparing: The process is not ended for it while others would suffer.
    """

    task: Task
    verdict: Outcome | None
    end_at: float
    blocking: bool = False
    sparing: bool = False


class Watched(Protocol):
    """The child, as far as its clocks need to know it."""

    serial: bool

    def ticking(self) -> Iterable[Task]:
        """The tasks that can have begun."""

    def closing_changed(self) -> None:
        """Whether it takes new lines may have changed."""

    def end_for(self, why: str) -> None:
        """End the process."""


class Overtime:
    """Watches over one child's tasks.

    Args:
        child: The child.
        clock: Time.
        timeout_grace: Seconds that the neighbours of an overdue task may go on.
        cancel_grace: Seconds that a cancelled task may go on.

    Attributes:
        doomed: Doomed tasks that are still unanswered, by id.
    """

    def __init__(self, child: Watched, clock: Clock, *, timeout_grace: float, cancel_grace: float) -> None:
        self._child = child
        self._clock = clock
        self._timeout_grace = timeout_grace
        self._cancel_grace = cancel_grace
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = NEVER
        self.doomed: dict[str, Doom] = {}

    @property
    def blocked(self) -> bool:
        """Whether no new line may be sent."""
        return any(doom.blocking for doom in self.doomed.values())

    def begin(self, task: Task, now: float) -> None:
        """From `now` on the task can have begun."""
        if self.doomed:
            doom = self.doomed.get(task.id)
            if doom is not None:
                doom.end_at = min(doom.end_at, now + self._cancel_grace)
                self._wake(doom.end_at)
                return
        if not (task.timeout or task.deadline):
            return
        expires_at = now + task.timeout if task.timeout else NEVER
        if task.deadline:
            expires_at = min(expires_at, now + task.deadline - self._clock.time())
            if expires_at <= now:
                # It waited in the pipe for too long. No need to end a process that may be through with it in a moment.
                verdict = Failed("timeout: its deadline passed before it could begin", retryable=True)
                self.doomed[task.id] = Doom(task, verdict, now + self._cancel_grace)
                self._wake(now + self._cancel_grace)
                return
        task.expires_at = expires_at
        if expires_at < self._wake_at:
            self._wake(expires_at)

    def doom(self, task: Task, *, begun: bool, sparing: bool = False) -> None:
        """The task was cancelled or abandoned, and whatever there is to report was reported."""
        end_at = self._clock.monotonic() + self._cancel_grace if begun else NEVER
        self.doomed[task.id] = Doom(task, None, end_at, sparing=sparing)
        self._wake(end_at)

    def answered(self, task_id: str) -> Outcome | None:
        """A doomed task's answer came: the verdict to report."""
        return self.doomed.pop(task_id).verdict

    def after_answers(self) -> None:
        """Answers came while tasks were doomed: go on as before, or don't make the doomed wait for nobody."""
        for doom in list(self.doomed.values()):
            if doom.blocking and not self._others(doom):
                doom.end_at = self._clock.monotonic()
                self._wake(doom.end_at)
        self._child.closing_changed()

    def close(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self, at: float) -> None:
        if at >= self._wake_at:
            return
        self.close()
        self._wake_at = at
        self._timer = self._loop.call_later(max(0.0, at - self._clock.monotonic()), self._look)

    def _look(self) -> None:
        self._timer = None
        self._wake_at = NEVER
        now = self._clock.monotonic()
        next_at = NEVER
        for task in list(self._child.ticking()):
            if task.expires_at and task.id not in self.doomed:
                if task.expires_at <= now:
                    self._time_is_up(task, now)
                else:
                    next_at = min(next_at, task.expires_at)
        for doom in list(self.doomed.values()):
            if doom.end_at <= now and self._give_up_on(doom, now):
                return
            next_at = min(next_at, doom.end_at)
        if next_at < NEVER:
            self._wake(next_at)

    def _time_is_up(self, task: Task, now: float) -> None:
        if task.deadline and task.deadline <= self._clock.time():
            error = "timeout: still running at its deadline"
        else:
            error = f"timeout: ran longer than {task.timeout:g}s"
        doom = Doom(task, Failed(error, retryable=True), now, blocking=True)
        self.doomed[task.id] = doom
        if self._others(doom):
            doom.end_at = now + self._timeout_grace
        self._child.closing_changed()

    def _give_up_on(self, doom: Doom, now: float) -> bool:
        """Its grace is over: end the process, unless its neighbours must be given time first."""
        others = self._others(doom)
        if doom.sparing and others:
            doom.end_at = now + max(self._cancel_grace, 1.0)
            return False
        if not doom.blocking and others:
            doom.blocking = True
            doom.end_at = now + self._timeout_grace
            self._child.closing_changed()
            return False
        doom.end_at = NEVER
        what = doom.verdict.error if isinstance(doom.verdict, Failed) else "cancelled, and did not come to an end"
        self._child.end_for(f"task {doom.task.id} {what}")
        return True

    def _others(self, doom: Doom) -> bool:
        """Whether ending the process would interrupt a neighbour that is not doomed itself."""
        if self._child.serial:
            return False
        return any(task is not doom.task and task.id not in self.doomed for task in self._child.ticking())
