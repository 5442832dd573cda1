"""Keeps the service manager informed: ready, status, still alive, and how much longer something takes.

That all is well is said only when that was just looked at: the loop here runs on the worker's own event loop, so one
that is blocked says nothing. Neither does a worker whose claim loop stands still or whose supervision broke. Whether
Redis answers does not matter: a restart would not mend it.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.events import Level, Listener, Notice, Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.service.notify import Notifier

EVERY = 1.0
"""Seconds between two looks, at most."""
WATCHDOG_SHARE = 1 / 3
"""Of what the service manager waits for a sign of life: how often it gets one."""
EXTENSION = 15.0
"""Seconds that are asked for at a time: so long a worker that dies on its way is waited for in vain."""
QUIET_WORK = 30.0
"""Seconds for which a deploy may show no sign of progress before no more time is asked for."""
NEWS = frozenset({"ready", "executor_degraded", "drain_started", "quiet", "resumed", "child_ready", "child_crashed"})
"""What changes the picture at once."""


class Phase(Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


class Condition(Protocol):
    """What is known of the worker."""

    def phase(self) -> Phase:
        """Where it is in its life."""

    def is_ready(self) -> bool:
        """Whether every parent queue is ready or degraded, and at least one ready."""

    def status(self) -> str:
        """One line for people."""

    def stall(self) -> str:
        """What makes no progress although it should; empty when all is well."""

    def work_is_quiet_for(self) -> float:
        """Seconds since a deploy last showed a sign of progress; infinite when there is no deploy under way."""


class Pulse(Silent):
    """The loop, and a listener to what changes the picture.

    Args:
        notifier: Takes the messages.
        condition: Is asked before each.
        longest_deploy: Gives the seconds that a deploy gets in all.
        longest_stop: Gives the seconds that a stop gets in all.
        listener: Hears why a sign of life is withheld.
    """

    def __init__(
        self,
        notifier: Notifier,
        condition: Condition,
        *,
        longest_deploy: Callable[[], float],
        longest_stop: Callable[[], float],
        listener: Listener,
    ) -> None:
        self._notifier = notifier
        self._condition = condition
        self._limits = {Phase.STARTING: longest_deploy, Phase.SERVING: longest_deploy, Phase.STOPPING: longest_stop}
        self._listener = listener
        self._every = min(EVERY, notifier.watchdog * WATCHDOG_SHARE or EVERY)
        self._phase: Phase | None = None
        self._since = 0.0
        self._ready = False
        self._reloading = False
        self._failure = ""
        self._status = ""
        self._stall = ""
        self._wakeup = asyncio.Event()

    async def run(self) -> None:
        """Look, tell, wait, until cancelled."""
        while True:
            self.look()
            self._wakeup.clear()
            try:
                async with asyncio.timeout(self._every):
                    await self._wakeup.wait()
            except TimeoutError:
                continue

    def notice(self, notice: Notice) -> None:
        """Look at once when the picture changes."""
        action = notice.action
        if action == "reload_started":
            self._failure = ""
            if self._ready:
                self._reloading, self._since = True, self._now()
                self._notifier.reloading(self._line())
        elif action == "reload_failed":
            self._failure = self._failure or notice.message
            self._end_reload()
        elif action == "reload_finished":
            self._end_reload()
        elif action in NEWS:
            self._wakeup.set()

    def look(self) -> None:
        """Tell what there is to tell."""
        self._enter(self._condition.phase())
        status = self._line()
        if not self._ready and self._phase is Phase.SERVING and self._condition.is_ready():
            self._ready = True
            self._notifier.ready(status)
        elif status != self._status:
            self._notifier.status(status)
        self._status = status
        self._tell_alive()
        if self._needs_time():
            self._notifier.extend(EXTENSION)

    def _line(self) -> str:
        """The status, with the reason of a reload that failed, until the next one begins."""
        status = self._condition.status()
        return f"{status}; {self._failure}" if self._failure else status

    def _end_reload(self) -> None:
        if self._reloading:
            self._reloading = False
            self._status = self._line()
            self._notifier.ready(self._status)

    def _enter(self, phase: Phase) -> None:
        if phase is self._phase:
            return
        self._phase, self._since = phase, self._now()
        if phase is Phase.STOPPING:
            self._notifier.stopping(self._line())

    def _tell_alive(self) -> None:
        stall = self._condition.stall()
        if stall and not self._stall:
            message = f"no sign of life goes to the service manager while {stall}"
            self._listener.notice(Notice("watchdog_withheld", message, Level.ERROR))
        self._stall = stall
        if not stall and self._notifier.watchdog:
            self._notifier.alive()

    def _needs_time(self) -> bool:
        """Whether something that the service manager waits for goes on, and has not taken too long yet."""
        if self._phase is None or self._now() - self._since > self._limits[self._phase]():
            return False
        if self._phase is Phase.STOPPING:
            return True
        waited_for = self._reloading or self._phase is Phase.STARTING or not self._ready
        return waited_for and self._condition.work_is_quiet_for() < QUIET_WORK

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
