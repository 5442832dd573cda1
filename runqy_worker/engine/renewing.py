"""Renews the leases of every task in hand, in one call per round."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.engine.outages import LONGEST_DELAY

if TYPE_CHECKING:
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.ports import Backend
    from runqy_worker.engine.flow import Flow
    from runqy_worker.engine.outages import Outages


class Renewer:
    """The renewal loop; `every` is in seconds."""

    def __init__(self, backend: Backend, flow: Flow, outages: Outages, *, every: float, clock: Clock) -> None:
        self._backend = backend
        self._flow = flow
        self._outages = outages
        self._every = every
        self._clock = clock

    async def run(self) -> None:
        """Renew for ever. After an outage the leases must not wait for longer than usual."""
        longest = min(self._every, LONGEST_DELAY)
        while True:
            await asyncio.sleep(self._every)
            await self._outages.until_done("renew", self._round, longest_delay=longest)

    async def _round(self) -> None:
        fresh = self._clock.monotonic() - self._every
        tasks = [task for task in self._flow.held if task.claimed_at <= fresh]
        if not tasks:
            return
        for task, ours in zip(tasks, await self._backend.renew(tasks), strict=True):
            if not ours:
                self._flow.lost(task)
