"""Tells the registry of each Redis that this worker uses what it is doing."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.domain.ports import ExecutorState
from runqy_worker.domain.registry import RunningTask, WorkerSnapshot
from runqy_worker.engine.engine import EngineState
from runqy_worker.telemetry.tail import Tail

if TYPE_CHECKING:
    import logging

    from runqy_worker.app.context import Context
    from runqy_worker.app.lane import Lane
    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.backends.asynq.registry import AsynqRegistry
    from runqy_worker.domain.task import Task
    from runqy_worker.telemetry.figures import Figures
    from runqy_worker.telemetry.heartbeat import Heartbeat

STOP_PATIENCE = 3.0
"""Seconds that taking the worker off the lists may take; the entries expire by themselves."""


@dataclass(frozen=True, slots=True)
class Heart:
    """One heartbeat with what it stands on."""

    heartbeat: Heartbeat
    registry: AsynqRegistry
    tail: Tail
    beating: asyncio.Task[None]


class Beats:
    """One heartbeat per Redis, each telling of the lanes that work there, with the lines of `logger`."""

    def __init__(self, context: Context, logger: logging.Logger) -> None:
        self._context = context
        self._logger = logger
        self._figures: Figures | None = None
        self._started_at = context.clock.time()
        self._lanes: dict[RedisOptions, list[Lane]] = {}
        self._hearts: dict[RedisOptions, Heart] = {}
        self._adding = asyncio.Lock()

    async def add(self, lane: Lane) -> None:
        """Tell of this lane from now on; the first beat goes out before this returns, if Redis answers."""
        options = lane.options
        lanes = self._lanes.setdefault(options, [])
        if lane not in lanes:
            lanes.append(lane)
        async with self._adding:
            if options not in self._hearts:
                self._hearts[options] = await self._make_heart(options, lanes)

    async def moved(self, lane: Lane, old: RedisOptions) -> None:
        """The lane's Redis or its credentials changed: beat there, and no more with the old ones."""
        lanes = self._lanes.get(old, [])
        if lane in lanes:
            lanes.remove(lane)
        if not lanes and old in self._hearts:
            await self._end(old, leave=False)
        await self.add(lane)

    async def leave(self) -> None:
        """Take this worker off every list."""
        await asyncio.gather(*(self._end(options, leave=True) for options in list(self._hearts)))
        if self._figures is not None:
            self._figures.close()

    def last_arrived(self) -> float | None:
        """Unix seconds at which a beat last arrived, at the Redis where that is longest ago; None before the first."""
        oldest = min((heart.heartbeat.last_beat for heart in self._hearts.values()), default=0.0)
        clock = self._context.clock
        return clock.time() - (clock.monotonic() - oldest) if oldest else None

    def gpus(self) -> list[dict[str, object]]:
        """The GPUs' figures of the last beat."""
        return self._figures.gpus if self._figures else []

    async def _make_heart(self, options: RedisOptions, lanes: list[Lane]) -> Heart:
        from runqy_worker.backends.asynq.registry import AsynqRegistry  # noqa: PLC0415 - loaded while it is deployed
        from runqy_worker.telemetry.figures import Figures  # noqa: PLC0415 - likewise
        from runqy_worker.telemetry.heartbeat import Heartbeat  # noqa: PLC0415 - likewise

        context = self._context
        if self._figures is None:
            self._figures = Figures(context.listener, context.clock)
        registry = AsynqRegistry(options, listener=context.listener, clock=context.clock)
        tail = Tail()
        self._logger.addHandler(tail)
        heartbeat = Heartbeat(
            registry,
            lambda: self._snapshot(lanes),
            tail,
            figures=self._figures,
            listener=context.listener,
            clock=context.clock,
        )
        await heartbeat.beat_now()
        beating = asyncio.create_task(heartbeat.run(), name="heartbeat")
        return Heart(heartbeat, registry, tail, beating)

    async def _end(self, options: RedisOptions, *, leave: bool) -> None:
        heart = self._hearts.pop(options)
        if leave:
            leaving = asyncio.create_task(heart.heartbeat.leave())
            await asyncio.wait([leaving], timeout=STOP_PATIENCE)
            if not leaving.done():  # Redis hangs: wait for no reply of its
                leaving.cancel()
                await heart.registry.abort()
        heart.beating.cancel()
        await asyncio.wait([heart.beating])
        await heart.registry.close()
        self._logger.removeHandler(heart.tail)

    def _snapshot(self, lanes: list[Lane]) -> WorkerSnapshot:
        context = self._context
        healths = {lane.parent: lane.health() for lane in lanes}
        engines = [lane.engine for lane in lanes if lane.engine]
        alive = (ExecutorState.READY, ExecutorState.STARTING)
        return WorkerSnapshot(
            worker_id=context.worker_id,
            host=context.worker_id.split(":", 1)[0] or socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            concurrency=context.config.worker.concurrency * len(lanes),
            queues={name: weight for lane in lanes for name, weight in lane.weights.items()},
            strict_priority=context.config.worker.strict_priority,
            status="running" if engines else "bootstrapping",
            healthy=all(health.state in alive for health in healths.values()),
            quiet=bool(engines) and all(engine.state is not EngineState.RUNNING for engine in engines),
            running=[self._running(task) for lane in lanes for task in lane.running()],
            recovery={
                parent: {
                    "state": health.state.value,
                    "restarts": health.restarts,
                    "crashes": health.crashes,
                    "last_crash": health.last_crash,
                }
                for parent, health in healths.items()
            },
        )

    def _running(self, task: Task) -> RunningTask:
        clock = self._context.clock
        offset = clock.time() - clock.monotonic()
        ends = task.expires_at + offset if task.expires_at else 0
        return RunningTask(task.id, task.type, task.payload, task.queue, task.started_at + offset, ends)
