"""Calls from other threads and from signal handlers, done on the worker's event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Mailbox:
    """Holds calls until the event loop runs, then passes each on to it. What comes after `close` is not done."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # reentrant: a signal handler may interrupt its holder
        self._loop: asyncio.AbstractEventLoop | None = None
        self._early: list[Callable[[], object]] = []

    @property
    def is_open(self) -> bool:
        """Whether calls are passed on."""
        return self._loop is not None

    def post(self, call: Callable[[], object]) -> None:
        """Let it be called, soon; from any thread."""
        with self._lock:
            if self._loop is None:
                self._early.append(call)
            else:
                self._loop.call_soon_threadsafe(call)

    def open(self) -> None:
        """On the running loop: do what was posted so far, and pass on what comes."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            early, self._early = self._early, []
        for call in early:
            call()

    def close(self) -> None:
        """The loop is about to end."""
        with self._lock:
            self._loop = None
