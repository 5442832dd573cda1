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

GRACE = 0.005
"""Seconds that waits stay open when there is no more demand: after a short task there is demand again."""
TURN = 20.0
"""Seconds between two turns of the loop, about, however little happens: whoever watches it sees that it goes on."""
_STEPS = ("wait", "claim", "stop waiting")


class Fetcher:
    """The claim loop.

    Every claim but the first is preceded by a wait: the backend knows best whether there may be something, and returns
    at once then.

    Args:
        on_idle: Called before each wait (for `--burst`).
    """

    def __init__(self, backend: Backend, flow: Flow, outages: Outages, *, on_idle: Callable[[], None]) -> None:
        self._backend = backend
        self._flow = flow
        self._outages = outages
        self._on_idle = on_idle
        self._interrupt: Callable[[], None] | None = None
        self._turned_at = float("inf")

    def silence(self) -> float:
        """Seconds since the loop turned, or tried again what an outage keeps it from; 0 before it began."""
        tried_at = max(self._outages.tried_at(step) for step in _STEPS)
        return max(0.0, asyncio.get_running_loop().time() - max(self._turned_at, tried_at))

    async def run(self) -> None:
        """Claim until the engine drains; then put back what a wait had taken hold of, and return."""
        nudging = asyncio.create_task(self._nudge(), name="nudge the fetch loop")
        try:
            await self._run()
        finally:
            nudging.cancel()

    async def _run(self) -> None:
        flow = self._flow
        loop = asyncio.get_running_loop()
        first = True
        while not flow.draining:
            self._turned_at = loop.time()
            flow.demand_changed.clear()
            if flow.demand() <= 0:
                await self._rest()
                continue
            if not first:
                self._on_idle()
                if not await self._wait():
                    continue
            first = False
            want = flow.demand()
            if want > 0 and not flow.draining:
                tasks = await self._repeat("claim", partial(self._backend.claim, want))
                if tasks:
                    flow.accept(tasks)
        await self._repeat("stop waiting", self._backend.stop_waiting)

    async def _nudge(self) -> None:
        while True:
            await asyncio.sleep(TURN)
            self._flow.demand_changed.set()
            if self._interrupt is not None and not self._outages.ongoing:
                self._interrupt()

    async def _rest(self) -> None:
        """Until there is demand; what waits are open are closed soon."""
        flow = self._flow
        timer = asyncio.get_running_loop().call_later(GRACE, flow.demand_changed.set)
        await flow.demand_changed.wait()
        timer.cancel()
        if flow.demand() > 0 or flow.draining:
            return
        flow.demand_changed.clear()
        await self._repeat("stop waiting", self._backend.stop_waiting)
        if flow.demand() <= 0 and not flow.draining:
            await flow.demand_changed.wait()

    async def _wait(self) -> bool:
        """Until the backend may have something. False when there is no more demand, or it is time for another turn."""
        flow = self._flow
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - coroutines run in tasks
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            if not interrupted:
                interrupted = True
                me.cancel()

        def look() -> None:
            if flow.demand() <= 0:
                interrupt()

        flow.on_ring, self._interrupt = look, interrupt
        try:
            await self._repeat("wait", self._backend.wait, blocks=True)
        except asyncio.CancelledError:
            if not interrupted or me.uncancel() > 0:
                raise
            return False
        finally:
            flow.on_ring = self._interrupt = None
        return True

    async def _repeat(self, name: str, operation: Callable[[], Awaitable[T]], *, blocks: bool = False) -> T | None:
        return await self._outages.until_done(name, operation, lambda: self._flow.draining, blocks=blocks)
