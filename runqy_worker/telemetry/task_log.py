"""Turns events into log lines: up to a rate for tasks that succeed, always for those that don't."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.settlement import Action
from runqy_worker.telemetry.records import emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Notice
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

WINDOW = 1.0
"""Seconds that one allowance of lines is for."""
LONGEST_ERROR = 4000
"""Characters of an error that are logged; the backend keeps all of it."""

_COMPLETE = Action.COMPLETE  # looked up once: reaching an enum's member costs more than the rest of a suppressed line


def _call_later(delay: float, callback: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(delay, callback)


class TaskLog:
    """A listener that logs.

    Completed tasks get a line each while an allowance of `task_lines` per second lasts; the rest of a second is told in
    one line. A suppressed line costs one addition: no clock is read and nothing is formatted, because a timer that only
    runs while tasks complete closes each window.

    Args:
        logger: Where lines go.
        task_lines: Lines about completed tasks per second; 0 leaves only the summaries.
        clock: Time, for durations.
        call_later: `call_later(seconds, callback)`; the running event loop's by default.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        task_lines: float,
        clock: Clock | None = None,
        call_later: Callable[[float, Callable[[], None]], object] = _call_later,
    ) -> None:
        self._logger = logger
        self._rate = self._most = self._tokens = 0.0
        self.allow(task_lines)
        self._clock = clock or SystemClock()
        self._call_later = call_later
        self._counting = False
        self._opened = 0.0
        self._completed = 0
        self._shown = 0

    def allow(self, task_lines: float) -> None:
        """So many lines about completed tasks per second from now on."""
        self._rate = task_lines
        self._most = self._tokens = max(task_lines, 1.0) if task_lines > 0 else 0.0

    def task_started(self, task: Task) -> None:
        """Log it for those who debug."""
        if self._logger.isEnabledFor(logging.DEBUG):
            emit(self._logger, logging.DEBUG, f"task {task.id} started", action="task_started", task=task)

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Log how it ended."""
        if accepted and settlement.action is _COMPLETE:
            self._completed += 1
            if self._tokens < 1 and self._counting:
                return
            self._completion(settlement.task)
        elif not accepted:
            self._void(settlement)
        else:
            self._other_end(settlement)

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        """Log what task code printed."""
        if self._logger.isEnabledFor(logging.INFO):
            emit(self._logger, logging.INFO, line, action="task_output", task=task, source=stream)

    def notice(self, notice: Notice) -> None:
        """Log it at its level."""
        if self._logger.isEnabledFor(notice.level):
            emit(
                self._logger,
                notice.level,
                notice.message,
                action=notice.action,
                task=notice.task,
                fields=notice.fields,
            )

    def flush(self) -> None:
        """Tell now what the current second left out. Call it before the log is closed."""
        left_out = self._completed - self._shown
        if left_out > 0 and self._logger.isEnabledFor(logging.INFO):
            seconds = self._clock.monotonic() - self._opened
            emit(
                self._logger,
                logging.INFO,
                f"{self._completed} tasks completed in {seconds:.1f} s, {left_out} lines left out",
                action="tasks_completed",
                fields={"completed": self._completed, "left_out": left_out, "seconds": round(seconds, 3)},
            )
        self._completed = self._shown = 0

    def _completion(self, task: Task) -> None:
        """Show a line if the allowance has one left; open a window if none is open."""
        if not self._logger.isEnabledFor(logging.INFO):
            self._completed = 0
            return
        if not self._counting:
            self._counting = True
            self._open_window()
        if self._tokens < 1:
            return
        self._tokens -= 1
        self._shown += 1
        seconds = self._seconds(task)
        emit(
            self._logger,
            logging.INFO,
            f"task {task.id} completed in {seconds:.3f} s",
            action="task_completed",
            task=task,
            fields={"type": task.type},
        )

    def _open_window(self) -> None:
        self._opened = self._clock.monotonic()
        self._call_later(WINDOW, self._close_window)

    def _close_window(self) -> None:
        """Summarise; go on while tasks come or the allowance is not full again."""
        busy = self._completed > 0
        self.flush()
        self._tokens = min(self._most, self._tokens + self._rate * WINDOW)
        if busy or self._tokens < self._most:
            self._open_window()
        else:
            self._counting = False

    def _void(self, settlement: Settlement) -> None:
        task = settlement.task
        outcome = settlement.action.name.lower()
        if settlement.tries > 1:
            level, action = logging.INFO, "settlement_repeated"
            message = f"task {task.id}: its {outcome} was sent again and found already written, or the lease lost"
        else:
            level, action = logging.WARNING, "lease_lost"
            message = f"task {task.id}: its lease was lost to another worker; our {outcome} is dropped"
        emit(self._logger, level, message, action=action, task=task, fields={"outcome": outcome})

    def _other_end(self, settlement: Settlement) -> None:
        level, action = _ENDS[settlement.action]
        if settlement.action is Action.RETRY and not settlement.counted:
            level = logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        task = settlement.task
        fields: dict[str, object] = {"type": task.type}
        if settlement.death:
            fields["deaths"] = task.deaths + 1
        if settlement.rerun:
            fields["reruns"] = task.reruns + 1
        message = f"task {task.id} {self._verdict(settlement)}"
        emit(self._logger, level, message, action=action, task=task, fields=fields)

    def _verdict(self, settlement: Settlement) -> str:
        task = settlement.task
        error = settlement.error or "no reason given"
        if len(error) > LONGEST_ERROR:
            error = f"{error[:LONGEST_ERROR]} ... ({len(error) - LONGEST_ERROR} more characters)"
        if settlement.action is Action.RETRY:
            delay = max(0.0, settlement.retry_at - self._clock.time())
            which = f"retry {task.retried + 1} of {task.max_retry}" if settlement.counted else "retry, not counted,"
            return f"failed after {self._seconds(task):.3f} s, {which} in {delay:.0f} s: {error}"
        if settlement.action is Action.ARCHIVE:
            return f"archived: {error}"
        if settlement.action is Action.RELEASE:
            return f"given back{': ' + settlement.error if settlement.error else ''}"
        return "revoked"

    def _seconds(self, task: Task) -> float:
        """How long the attempt took; 0 when it never began."""
        return max(0.0, self._clock.monotonic() - task.started_at) if task.started_at else 0.0


_ENDS = {
    Action.COMPLETE: (logging.INFO, "task_completed"),
    Action.RETRY: (logging.WARNING, "task_failed"),
    Action.ARCHIVE: (logging.ERROR, "task_archived"),
    Action.DISCARD: (logging.INFO, "task_revoked"),
    Action.RELEASE: (logging.DEBUG, "task_released"),
}
