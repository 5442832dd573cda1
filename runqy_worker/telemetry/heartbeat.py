"""Tells the world, every few seconds, that this worker lives and what it is doing."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.errors import BackendError
from runqy_worker.domain.events import Level, Notice, Silent
from runqy_worker.telemetry.tail import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener
    from runqy_worker.domain.registry import LogLine, Registry, WorkerSnapshot
    from runqy_worker.telemetry.figures import Figures


class Drainable(Protocol):
    """Where new log lines come from."""

    def drain(self) -> list[LogLine]:
        """The lines since the last call."""


class Heartbeat:
    """Beats until `leave` is called.

    A registry that can't be reached, or refuses, never ends it: that is told once per outage, lines are kept for
    the next beat, and `last_beat` shows the age of what others can see.

    Args:
        registry: Where beats go.
        snapshot: What to tell; called at each beat.
        tail: New log lines.
        interval: Seconds between beats.
        figures: When given, read in a thread before each beat, and told as the snapshot's `metrics`.
        listener: Hears of outages.
        clock: Time.
    """

    def __init__(
        self,
        registry: Registry,
        snapshot: Callable[[], WorkerSnapshot],
        tail: Drainable,
        *,
        interval: float = 5.0,
        figures: Figures | None = None,
        listener: Listener | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._registry = registry
        self._snapshot = snapshot
        self._tail = tail
        self._interval = interval
        self._figures = figures
        self._listener = listener or Silent()
        self._clock = clock or SystemClock()
        self._unsent: deque[LogLine] = deque(maxlen=KEPT)
        self._beating = asyncio.Lock()
        self._leaving = asyncio.Event()
        self._failing_since: float | None = None
        self.last_beat = 0.0
        """Monotonic seconds of the last beat that arrived; 0 before the first."""

    async def run(self) -> None:
        """Beat at once and then every `interval` seconds, until `leave`. Cancelling waits for a beat under way."""
        while not self._leaving.is_set():
            beat = asyncio.ensure_future(self.beat_now())
            try:
                await asyncio.shield(beat)
            except asyncio.CancelledError:
                await asyncio.wait([beat])  # a command cut off in the middle would poison its connection
                raise
            try:
                async with asyncio.timeout(self._interval):
                    await self._leaving.wait()
            except TimeoutError:
                continue

    async def beat_now(self) -> bool:
        """Beat once, now. Returns whether it arrived."""
        async with self._beating:
            if self._leaving.is_set():
                return False
            snapshot = self._snapshot()
            if self._figures is not None:
                snapshot = replace(snapshot, metrics=await asyncio.to_thread(self._figures.read))
            self._unsent.extend(self._tail.drain())
            lines = list(self._unsent)
            try:
                await self._registry.beat(snapshot, lines)
            except BackendError as error:
                self._failed(error)
                return False
            self._unsent.clear()
            self._arrived()
            return True

    async def leave(self) -> None:
        """End `run` and take the worker off the lists; where that fails, its entries expire by themselves."""
        self._leaving.set()
        async with self._beating:
            try:
                await self._registry.leave(self._snapshot().worker_id)
            except BackendError as error:
                message = f"could not take this worker off the list, its entry expires by itself: {error}"
                self._listener.notice(Notice("heartbeat_leave_failed", message, Level.WARNING))

    def _failed(self, error: BackendError) -> None:
        if self._failing_since is None:
            self._failing_since = self._clock.monotonic()
            message = f"heartbeats don't arrive, others may think this worker gone: {error}"
            self._listener.notice(Notice("heartbeat_failed", message, Level.WARNING))

    def _arrived(self) -> None:
        self.last_beat = self._clock.monotonic()
        if self._failing_since is not None:
            seconds = round(self.last_beat - self._failing_since, 1)
            self._failing_since = None
            message = f"heartbeats arrive again after {seconds:g} s"
            self._listener.notice(Notice("heartbeat_resumed", message, fields={"seconds": seconds}))
