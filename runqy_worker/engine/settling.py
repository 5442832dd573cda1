"""Sends outcomes to the backend, all that came together in one call, until each is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.ports import Backend
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.engine.flow import Flow
    from runqy_worker.engine.outages import Outages


GATHER = 0.004
"""Seconds that outcomes are gathered while more tasks are at hand: a call for each would cost more than the tasks."""
ENOUGH = 32
"""Outcomes that are worth a call at once."""


class Settler:
    """The settle loop.

    Args:
        give_up: Asked after a failure: whether to leave the rest to the leases (at the end of a drain).
    """

    def __init__(self, backend: Backend, flow: Flow, outages: Outages, *, give_up: Callable[[], bool]) -> None:
        self._backend = backend
        self._flow = flow
        self._outages = outages
        self._give_up = give_up

    async def run(self) -> None:
        """Settle for ever."""
        flow = self._flow
        while True:
            await flow.outbox_filled.wait()
            if flow.has_waiting and len(flow.outbox) < ENOUGH:
                await asyncio.sleep(GATHER)
            flow.outbox_filled.clear()
            batch, flow.outbox = flow.outbox, []
            if not batch:
                continue

            async def send(batch: list[Settlement] = batch) -> list[bool]:
                for settlement in batch:
                    settlement.tries += 1
                return await self._backend.settle(batch)

            flags = await self._outages.until_done("settle", send, self._give_up)
            if flags is None:
                return
            for settlement, accepted in zip(batch, flags, strict=True):
                flow.settled(settlement, accepted=accepted)
