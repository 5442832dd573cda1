"""Sends outcomes to the backend, all that came together in one call, until each is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import BackendUnavailableError

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
        self._unanswered: list[Settlement] = []

    async def run(self) -> None:
        """Settle for ever."""
        flow = self._flow
        while True:
            await flow.outbox_filled.wait()
            if flow.has_waiting and len(flow.outbox) < ENOUGH:
                await asyncio.sleep(GATHER)
            flow.outbox_filled.clear()
            if flow.outbox and not await self._outages.until_done("settle", self._send, self._give_up):
                return

    async def _send(self) -> bool:
        """Send what got no answer before, and what came since: one that can't be sent must not hold up the others."""
        flow = self._flow
        batch, flow.outbox = self._unanswered + flow.outbox, []
        self._unanswered = batch
        for settlement in batch:
            settlement.tries += 1
        try:
            flags = await self._backend.settle(batch)
        except BackendUnavailableError:
            self._unanswered = [settlement for settlement in batch if settlement.accepted is None]
            for settlement in batch:
                if settlement.accepted is not None:
                    flow.settled(settlement, accepted=settlement.accepted)
            raise
        self._unanswered = []
        for settlement, accepted in zip(batch, flags, strict=True):
            flow.settled(settlement, accepted=accepted)
        return True
