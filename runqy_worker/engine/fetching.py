"""Claims tasks while there is room for them, and blocks in the backend while there are none."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runqy_worker.domain.ports import Backend
    from runqy_worker.engine.flow import Flow
    from runqy_worker.engine.outages import Outages

T = TypeVar("T")


class Fetcher:
    """The claim loop.

    Args:
        on_idle: Called when a claim found nothing (for `--burst`).
    """

    def __init__(self, backend: Backend, flow: Flow, outages: Outages, *, on_idle: Callable[[], None]) -> None:
        self._backend = backend
        self._flow = flow
        self._outages = outages
        self._on_idle = on_idle

    async def run(self) -> None:
        """Claim until the engine drains; then put back what a wait had taken hold of, and return."""
        flow = self._flow
        while not flow.draining:
            flow.demand_changed.clear()
            want = flow.demand()
            if want <= 0:
                await self._repeat("stop waiting", self._backend.stop_waiting)
                if flow.demand() <= 0 and not flow.draining:
                    await flow.demand_changed.wait()
                continue
            tasks = await self._repeat("claim", partial(self._backend.claim, want))
            if tasks:
                flow.accept(tasks)
                continue
            self._on_idle()
            if not flow.demand_changed.is_set():
                await self._wait()
        await self._repeat("stop waiting", self._backend.stop_waiting)

    async def _wait(self) -> None:
        """Until the backend has something, or the demand changed."""
        waits = (
            asyncio.ensure_future(self._repeat("wait", self._backend.wait, blocks=True)),
            asyncio.ensure_future(self._flow.demand_changed.wait()),
        )
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            results = await asyncio.gather(*waits, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _repeat(self, name: str, operation: Callable[[], Awaitable[T]], *, blocks: bool = False) -> T | None:
        return await self._outages.until_done(name, operation, lambda: self._flow.draining, blocks=blocks)
