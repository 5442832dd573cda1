"""What commands print, passed on while they run."""

from __future__ import annotations

import time

from runqy_worker.domain.events import Level, Listener, Notice

_EVERY = 1.0
_LONG = 2.0
"""Seconds after which a command counts as long, and the log shows what it prints; before, only at level debug."""


class Progress:
    """Passes lines of output on as notices: figures that replace one another at most once a second.

    One instance serves one command, from its start.

    Args:
        listener: Who hears them.
        action: The notices' name.
    """

    def __init__(self, listener: Listener, action: str) -> None:
        self._listener = listener
        self._action = action
        self._started = time.monotonic()
        self._last = float("-inf")

    def __call__(self, text: str, transient: bool) -> None:
        """Take one line."""
        now = time.monotonic()
        if transient and now - self._last < _EVERY:
            return
        self._last = now
        level = Level.INFO if now - self._started >= _LONG else Level.DEBUG
        self._listener.notice(Notice(self._action, text, level))
