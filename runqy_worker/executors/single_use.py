"""A process that runs one task and ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.outcome import Failed, Outcome, Released
from runqy_worker.executors.exits import overlong_line
from runqy_worker.executors.lines import Cut
from runqy_worker.executors.protocol import read_answer, request_line, scrape
from runqy_worker.executors.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.launch import Launch
    from runqy_worker.domain.task import Task
    from runqy_worker.executors.context import Context


class SingleUseOwner(Protocol):
    """The executor, as its processes see it. It must not raise."""

    def task_ended(self, process: SingleUse, task: Task, outcome: Outcome | None) -> None:
        """The task's outcome is known; None when nobody wants to know any more."""

    def process_gone(self, process: SingleUse, death: str) -> None:
        """The process ended after it had been ready, be it used or not."""


class SingleUse:
    """One process for one task.

    Args:
        launch: How to start it.
        owner: Hears what happens.
        context: What the executor's processes share.

    Attributes:
        launch: How it was started.
        task: The task it was given, until its outcome is known.
        used: It was given a task.
        unwanted: It is being ended without having been used.
    """

    def __init__(self, launch: Launch, owner: SingleUseOwner, context: Context) -> None:
        self.launch = launch
        self.task: Task | None = None
        self.used = False
        self.unwanted = False
        self._owner = owner
        self._context = context
        self._session = Session(launch, self, context)
        self._started = False
        self._early_death = ""
        self._decided = False
        self._verdict: Outcome | None = None
        self._line_length = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._session.pid

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ExecutorStartError: It did not become ready; nothing is left of it.
        """
        await self._session.start()
        if self._early_death:
            raise ExecutorStartError(f"{self._early_death} as soon as it was ready")
        self._started = True

    def run(self, task: Task) -> None:
        """Hand over its task; the clock starts now."""
        self.task = task
        self.used = True
        clock = self._context.clock
        limits = [task.timeout] if task.timeout else []
        if task.deadline:
            limits.append(max(0.0, task.deadline - clock.time()))
        if limits:
            task.expires_at = clock.monotonic() + min(limits)
            self._set_timer(min(limits), self._time_is_up)
        line = request_line(task)
        self._line_length = len(line)
        self._session.send(line)

    def end_with(self, verdict: Outcome | None, why: str, grace: float) -> None:
        """End it; the verdict is reported once it is gone. A release is reported only if no answer comes before."""
        if self.task is None:
            return
        if not self._decided:
            self._verdict = verdict
            self._decided = not isinstance(verdict, Released)
        self._session.end(grace, why)

    def retire(self, why: str) -> None:
        """End it unused."""
        if not self.used:
            self.unwanted = True
            self._session.end(self._context.process.stop_grace, why)

    async def wait_gone(self) -> None:
        """Until nothing is left of it."""
        await self._session.wait_gone()

    def lines(self, lines: list[bytes]) -> None:
        """It printed lines (`SessionOwner`)."""
        for line in lines:
            answer = read_answer(line)
            if answer is not None:
                self._answered(*answer)
            elif isinstance(line, Cut):
                self._overlong()
            else:
                self._read_closely(line)

    def at_work(self) -> Task | None:
        """Its task (`SessionOwner`)."""
        return self.task

    def broken(self) -> None:
        """It can't be talked to any more (`SessionOwner`); what that means is told when it is gone."""

    def gone(self, death: str) -> None:
        """It ended (`SessionOwner`)."""
        death = self._session.masker.mask(death) + self._session.output.ending()
        if not self._started:
            self._early_death = death
            return
        self._set_timer(0, None)
        if self.task is not None:
            if self._verdict is not None or self._decided:
                outcome = self._verdict
            elif self._session.unread() >= self._line_length:
                outcome = Released(reason=death)
                self.used = False  # it died as an unused one
            else:
                outcome = Failed(death, retryable=True, death=True)
            self._end_task(self.task, outcome)
        self._owner.process_gone(self, death)

    def _answered(self, task_id: str, outcome: Outcome) -> None:
        if self.task is None or task_id != self.task.id or self._decided:
            message = f"an answer for task {task_id[:100]!r} was dropped: it is not unanswered here, or no longer"
            self._context.notices.emit("answer_dropped", message, pid=self.pid)
            return
        if isinstance(outcome, Failed):
            outcome.error = self._session.masker.mask(outcome.error)
        grace = self._context.process.stop_grace
        self._session.finish_input()
        self._set_timer(grace, lambda: self._session.end(grace, "it was through with its task"))
        self._end_task(self.task, outcome)

    def _end_task(self, task: Task, outcome: Outcome | None) -> None:
        self.task = None
        self._owner.task_ended(self, task, outcome)

    def _read_closely(self, line: bytes) -> None:
        task = self.task
        for piece in scrape(line):
            if isinstance(piece, bytes):
                self._session.output.line("stdout", piece, task)
                continue
            if piece.note:
                message = f"the answer for task {piece.task_id} was not quite JSON: {piece.note}"
                self._context.notices.emit("answer_mended", message, task=task)
            self._answered(piece.task_id, piece.outcome)

    def _overlong(self) -> None:
        error = overlong_line(self._context.process.max_line)
        self._context.notices.emit("line_too_long", error.partition(": ")[2], task=self.task, pid=self.pid)
        self.end_with(Failed(error, retryable=False), "it printed a line that is too long", self._grace)

    def _time_is_up(self) -> None:
        if self.task is None:
            return
        if self.task.deadline and self.task.deadline <= self._context.clock.time():
            error = "timeout: still running at its deadline"
        else:
            error = f"timeout: ran longer than {self.task.timeout:g}s"
        self.end_with(Failed(error, retryable=True), error, self._grace)

    @property
    def _grace(self) -> float:
        return self._context.process.stop_grace

    def _set_timer(self, delay: float, callback: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if callback is None else asyncio.get_running_loop().call_later(delay, callback)
