"""When to start a crashed process again, and when to give up. Pure: told the time, asked for a delay."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from runqy_worker.config.model import RecoveryConfig

JITTER = 0.2
"""Share by which a delay is longer or shorter at random."""


class RestartPolicy:
    """Counts crashes in a row, and says how long to wait before each restart.

    Args:
        config: Delays and limits.
        rng: For the jitter.
    """

    def __init__(self, config: RecoveryConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._restarts = 0
        self._well_since: float | None = None

    def restarts(self, now: float) -> int:
        """Restarts in the current series of crashes, at monotonic second `now`."""
        self._cool_down(now)
        return self._restarts

    def running(self, now: float) -> None:
        """The process is ready since `now`; after the cool-down without a crash the series is over."""
        self._well_since = now

    def crashed(self, now: float) -> float | None:
        """Seconds to wait before the next restart; None when there shall be none."""
        self._cool_down(now)
        self._well_since = None
        config = self._config
        if not config.enabled or self._restarts >= config.max_restarts:
            return None
        delay = config.initial_delay
        for _ in range(self._restarts):
            delay = min(delay * config.backoff_factor, config.max_delay)
        self._restarts += 1
        return min(delay, config.max_delay) * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def absolve(self) -> None:
        """The last crash turned out to be a task's doing: it counts no longer."""
        self._restarts = max(0, self._restarts - 1)

    def forget(self) -> None:
        """Begin a new series: another release took over, or the process proved to work."""
        self._restarts = 0

    def _cool_down(self, now: float) -> None:
        if self._well_since is not None and now - self._well_since >= self._config.cooldown_period:
            self._restarts = 0
