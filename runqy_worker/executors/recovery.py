"""Starts a crashed process again, with growing delay, until it is ready or the limit is reached."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.events import Level, Listener, Notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runqy_worker.domain.clock import Clock
    from runqy_worker.executors.backoff import RestartPolicy


class Recovery:
    """The restart loop; at most one runs.

    Args:
        policy: Delays and limits.
        start: Starts a process and puts it to use; raises `ExecutorStartError`.
        degrade: Called with the reason when no further restart is allowed.
        listener: Hears what happens.
        clock: Time.

    Attributes:
        crashes: Crashes since the beginning.
        last_crash: Reason of the last one.
        fault: What broke in the loop itself.
    """

    def __init__(
        self,
        policy: RestartPolicy,
        start: Callable[[], Awaitable[None]],
        degrade: Callable[[str], None],
        *,
        listener: Listener,
        clock: Clock,
    ) -> None:
        self._policy = policy
        self._start = start
        self._degrade = degrade
        self._listener = listener
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self.crashes = 0
        self.last_crash = ""
        self.fault = ""

    @property
    def restarts(self) -> int:
        """Restarts in the current series of crashes."""
        return self._policy.restarts(self._clock.monotonic())

    def crashed(self, reason: str) -> None:
        """Note a crash."""
        self.crashes += 1
        self.last_crash = reason

    def begin(self, reason: str, *, counted: bool) -> None:
        """Start a new process: at once when the end of the last one is not `counted`, else as the policy says."""
        self.cancel()
        delay = self._next_delay(reason) if counted else 0.0
        if delay is not None:
            self._task = asyncio.create_task(self._run(delay), name="recovery")
            self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Don't restart any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self, first_delay: float) -> None:
        delay: float | None = first_delay
        while delay is not None:
            await asyncio.sleep(delay)
            try:
                await self._start()
            except ExecutorStartError as error:
                self.crashed(str(error))
                delay = self._next_delay(str(error))
            else:
                return

    def _next_delay(self, reason: str) -> float | None:
        """Seconds until the next attempt; None, and degraded, when there shall be none."""
        delay = self._policy.crashed(self._clock.monotonic())
        if delay is None:
            self._degrade(reason)
            return None
        message = f"restart {self.restarts} of the task code's process in {delay:.1f} s: {reason}"
        fields = {"delay": round(delay, 3), "restart": self.restarts, "reason": reason}
        self._listener.notice(Notice("child_restarting", message, Level.WARNING, fields=fields))
        return delay

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fault = repr(error)
            self._degrade(f"a fault in the worker itself: {error!r}")
