"""Does the queues' upkeep when it is due: forwarding, recovery, sweeps, purging."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runqy_worker.domain.ports import Backend
    from runqy_worker.engine.outages import Outages


class Chores:
    """The upkeep loop."""

    def __init__(self, backend: Backend, outages: Outages) -> None:
        self._backend = backend
        self._outages = outages

    async def run(self) -> None:
        """Keep up for ever."""
        while True:
            pause = await self._outages.until_done("upkeep", self._backend.upkeep)
            await asyncio.sleep(pause or 0)
