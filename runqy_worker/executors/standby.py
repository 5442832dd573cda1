"""Processes that are ready before there is a task for them, each used once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.executors.hardware import cuda_visible, memory_is_short

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.config.model import ProcessConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.launch import Launch
    from runqy_worker.executors.single_use import SingleUse

LOOK_EVERY = 5.0
"""Seconds between looks at the host, in automatic mode."""


class Standby:
    """The pool; oldest first.

    Args:
        config: How many to keep, and for how long.
        concurrency: The most that make sense.
        clock: Time.
    """

    def __init__(self, config: ProcessConfig, concurrency: int, clock: Clock) -> None:
        self._fixed = None if config.standby == "auto" else min(int(config.standby), concurrency)
        self._max_age = config.standby_max_age
        self._clock = clock
        self._ready: dict[SingleUse, asyncio.TimerHandle] = {}
        self._launch: Launch | None = None
        self._automatic = 0
        self._look_at = 0.0

    def __len__(self) -> int:
        return len(self._ready)

    def wanted(self, launch: Launch) -> int:
        """How many to keep: as configured, else one, or none where a waiting process would cost too much."""
        if self._fixed is not None:
            return self._fixed
        now = self._clock.monotonic()
        if now >= self._look_at or launch is not self._launch:
            self._look_at = now + LOOK_EVERY
            self._launch = launch
            self._automatic = 0 if cuda_visible(launch.env) or memory_is_short() else 1
        return self._automatic

    def add(self, process: SingleUse, expired: Callable[[SingleUse], None]) -> None:
        """A process is ready; `expired` is called with it when nobody took it in time."""

        def drop() -> None:
            if self.remove(process):
                expired(process)

        self._ready[process] = asyncio.get_running_loop().call_later(self._max_age, drop)

    def take(self) -> SingleUse | None:
        """The process that has waited longest."""
        for process, timer in self._ready.items():
            timer.cancel()
            del self._ready[process]
            return process
        return None

    def remove(self, process: SingleUse) -> bool:
        """The process is gone or wanted elsewhere. Whether it was here."""
        timer = self._ready.pop(process, None)
        if timer is not None:
            timer.cancel()
        return timer is not None

    def clear(self) -> None:
        """Forget all."""
        for timer in self._ready.values():
            timer.cancel()
        self._ready.clear()
