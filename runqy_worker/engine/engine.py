"""The engine of one parent queue: starts the loops, watches over them, drains."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Listener, Notice
from runqy_worker.domain.ports import ExecutorState
from runqy_worker.engine.cancelling import Canceller
from runqy_worker.engine.chores import Chores
from runqy_worker.engine.fetching import Fetcher
from runqy_worker.engine.flow import Flow
from runqy_worker.engine.middleware import Chain, Middleware
from runqy_worker.engine.outages import Outages
from runqy_worker.engine.renewing import Renewer
from runqy_worker.engine.settling import Settler

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterable

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.ports import Backend, Executor
    from runqy_worker.domain.task import Task
    from runqy_worker.engine.retrying import Verdicts

SETTLE_PATIENCE = 10.0
"""Seconds that a drain tries to give back and to write the last outcomes to a backend that does not answer."""


class EngineState(Enum):
    """What the engine is doing."""

    RUNNING = "running"
    QUIET = "quiet"
    DRAINING = "draining"
    STOPPED = "stopped"


class Engine:
    """Claims, runs and settles the tasks of one backend with one executor, until asked to stop.

    Args:
        backend: Where the tasks live; opened here, closed here.
        executor: What runs them; already started, stopped here.
        verdicts: What outcomes mean.
        renew_every: Seconds between renewals of the leases.
        shutdown_timeout: Seconds that running tasks get in a drain.
        stop_grace: Seconds between SIGTERM and SIGKILL for processes that are still at work then.
        listener: Hears what happens.
        clock: Time.
        rng: For jitter.
        middleware: Hooks around each task.
        renew_credentials: Asked when the backend refuses our credentials; says whether there are new ones.
        burst: Stop by itself once the queues are empty.

    Attributes:
        shutdown_timeout: May be changed until a drain begins.
    """

    def __init__(
        self,
        backend: Backend,
        executor: Executor,
        verdicts: Verdicts,
        *,
        renew_every: float,
        shutdown_timeout: float,
        stop_grace: float,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
        middleware: Iterable[Middleware] = (),
        renew_credentials: Callable[[], Coroutine[None, None, bool]] | None = None,
        burst: bool = False,
    ) -> None:
        self._backend = backend
        self._executor = executor
        self.shutdown_timeout = shutdown_timeout
        self._stop_grace = stop_grace
        self._listener = listener
        self._burst = burst
        self._settle_until: float | None = None
        self._clock = clock
        self._outages = Outages(listener, rng, renew_credentials)
        self._flow = Flow(executor, verdicts, Chain(tuple(middleware)), listener=listener, clock=clock)
        self._stop_asked = asyncio.Event()
        self._hurried = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopped = False
        self._fetcher = Fetcher(backend, self._flow, self._outages, on_idle=self._idle.set)
        self._settler = Settler(backend, self._flow, self._outages, give_up=self._may_give_up)
        self._renewer = Renewer(backend, self._flow, self._outages, every=renew_every, clock=clock)

    @property
    def state(self) -> EngineState:
        """What it is doing."""
        if self._stopped:
            return EngineState.STOPPED
        if self._flow.draining:
            return EngineState.DRAINING
        return EngineState.RUNNING if self._flow.claiming else EngineState.QUIET

    @property
    def degraded(self) -> asyncio.Event:
        """Set once the executor gave up keeping its process alive."""
        return self._flow.degraded

    @property
    def is_cut_off(self) -> bool:
        """Whether the backend does not answer now."""
        return self._outages.ongoing

    @property
    def unsettled(self) -> int:
        """How many outcomes the backend has not taken yet."""
        return self._flow.unsettled

    def silence(self) -> float:
        """Seconds since the claim loop last turned, or tried what an outage keeps it from; 0 unless it is at work."""
        return 0.0 if self._stopped or self._flow.draining else self._fetcher.silence()

    def running(self) -> list[Task]:
        """The tasks that run now."""
        return list(self._flow.running)

    def quiet(self) -> None:
        """Stop claiming; what runs goes on. Undone by `resume`."""
        if not self._flow.draining:
            self._flow.claiming = False
            self._flow.release_waiting("the worker was made quiet")
            self._flow.ring()

    def resume(self) -> None:
        """Claim again."""
        if not self._flow.draining:
            self._flow.claiming = True
            self._flow.ring()

    def request_stop(self) -> None:
        """Drain, then end `run`."""
        self._stop_asked.set()

    def hurry(self) -> None:
        """Drain without waiting for running tasks; they are given back."""
        self._hurried.set()
        self._stop_asked.set()

    async def run(self) -> None:
        """Work until stopped. Raises what killed a loop, after giving back what it held."""
        try:
            await self._outages.until_done("open", self._backend.open, self._stop_asked.is_set)
            try:
                await self._work()
            finally:
                await self._executor.stop(self._stop_grace)
                await self._backend.close()
                self._stopped = True
        finally:
            await self._outages.close()

    async def _work(self) -> None:
        canceller = Canceller(self._backend, self._executor, self._outages, self._listener)
        chores = Chores(self._backend, self._outages)
        fetching = self._start(self._fetcher.run(), "fetch")
        chores_task = self._start(chores.run(), "upkeep")
        loops = [
            fetching,
            chores_task,
            self._start(self._settler.run(), "settle"),
            self._start(self._renewer.run(), "renew"),
            self._start(canceller.run(), "cancel"),
        ]
        if self._burst:
            loops.append(self._start(self._stop_when_empty(), "burst"))
        stop = self._start(self._stop_asked.wait(), "stop")
        await asyncio.wait([*loops, stop], return_when=asyncio.FIRST_COMPLETED)
        dead = [loop for loop in loops if loop.done() and loop.exception() is not None]
        for loop in dead:
            message = f"the {loop.get_name()} loop ended: {loop.exception()!r}; stopping"
            self._listener.notice(Notice("loop_died", message, Level.ERROR, fields={"loop": loop.get_name()}))
        await self._drain(fetching)
        for loop in (*loops, stop):
            loop.cancel()
        await asyncio.gather(*loops, stop, return_exceptions=True)
        for loop in dead:
            loop.result()

    async def _drain(self, fetching: asyncio.Task[None]) -> None:
        """Stop claiming, let running tasks end, give back the rest, write every outcome."""
        flow = self._flow
        flow.claiming = False
        flow.draining = True
        flow.release_waiting("the worker is stopping")
        flow.ring()
        count = len(flow.running)
        if count:
            message = f"draining: {count} running tasks get up to {self.shutdown_timeout:g} s"
            self._listener.notice(Notice("drain_started", message, fields={"running": count}))
        await self._until_nothing_runs()
        await self._executor.stop(self._stop_grace)
        self._settle_until = self._clock.monotonic() + SETTLE_PATIENCE
        await asyncio.wait([fetching], timeout=SETTLE_PATIENCE)
        while flow.held and not self._may_give_up():
            flow.emptied.clear()
            await _either(flow.emptied, timeout=0.5)
        if flow.held:
            message = f"{len(flow.held)} outcomes could not be written; their leases run out and the tasks run again"
            self._listener.notice(Notice("outcomes_left", message, Level.ERROR, fields={"tasks": len(flow.held)}))

    async def _until_nothing_runs(self) -> None:
        """At most `shutdown_timeout`, or until hurried."""
        deadline = self._clock.monotonic() + self.shutdown_timeout
        flow = self._flow
        while flow.running and not self._hurried.is_set():
            left = deadline - self._clock.monotonic()
            if left <= 0:
                return
            flow.demand_changed.clear()
            await _either(flow.demand_changed, self._hurried, timeout=left)

    async def _stop_when_empty(self) -> None:
        """For `--burst`: stop when the queues are empty and nothing is in hand."""
        while True:
            await self._idle.wait()
            self._idle.clear()
            degraded = self._executor.health().state is ExecutorState.DEGRADED
            empty = await self._outages.until_done("is empty", self._backend.is_empty)
            if degraded or (empty and not self._flow.held):
                self._stop_asked.set()
                return
            await asyncio.sleep(0.05)
            self._idle.set()

    def _may_give_up(self) -> bool:
        return self._settle_until is not None and self._clock.monotonic() >= self._settle_until

    @staticmethod
    def _start(coroutine: Coroutine[None, None, object], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(coroutine, name=name)  # type: ignore[arg-type]  # results are not looked at


async def _either(*events: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109 - a plain wait for events
    """Until one of the events is set, at most `timeout` seconds."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
