"""Time as a dependency, so that tests can make it fast."""

from __future__ import annotations

import time
from typing import Protocol

_QUICK = 0.5
"""Seconds within which an answer about the time must have come to be worth more than an earlier one."""


class Clock(Protocol):
    """Two clocks: one that people and Redis share, one that never jumps."""

    def time(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""


class SystemClock:
    """The real one."""

    def time(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""
        return time.monotonic()


class SharedClock:
    """What a host makes of the time when it shares tasks with others through one server.

    Hosts' clocks may be minutes apart, and they are set; so may be the server's. `time` is the earlier of the two: what
    must not happen before its time (a deadline, say) never does because one of them is ahead. What is written for
    others to judge is written in `server_time`. Neither follows a jump of this host's clock forward.

    Args:
        host: This host's own clock.
    """

    def __init__(self, host: Clock) -> None:
        self._host = host
        self._ahead: float | None = None

    @classmethod
    def on(cls, clock: Clock) -> SharedClock:
        """`clock` itself if it is one, else one that has it for the host's."""
        return clock if isinstance(clock, SharedClock) else cls(clock)

    def time(self) -> float:
        """Unix seconds, by the clock that is behind; by the host's while the server's is not known."""
        return min(self._host.time(), self.server_time())

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""
        return self._host.monotonic()

    def server_time(self) -> float:
        """Unix seconds by the server's clock; by the host's while that is not known."""
        return self._host.time() if self._ahead is None else self._host.monotonic() + self._ahead

    def hear(self, server_time: float, asked_at: float) -> None:
        """The server has answered now that it is `server_time`; it was asked at `asked_at` of the monotonic clock.

        An answer that took long says little and is only used when there is no better one.
        """
        now = self._host.monotonic()
        if self._ahead is None or now - asked_at <= _QUICK:
            self._ahead = server_time - (asked_at + now) / 2
