"""Tells the registry of each Redis that this worker uses what it is doing."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.registry import AsynqRegistry
from runqy_worker.domain.ports import ExecutorState
from runqy_worker.domain.registry import RunningTask, WorkerSnapshot
from runqy_worker.engine.engine import EngineState
from runqy_worker.telemetry.figures import Figures
from runqy_worker.telemetry.heartbeat import Heartbeat

if TYPE_CHECKING:
    from runqy_worker.app.context import Context
    from runqy_worker.app.lane import Lane
    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.domain.task import Task
    from runqy_worker.telemetry.tail import Tail

STOP_PATIENCE = 3.0
"""Seconds that taking the worker off the lists may take; the entries expire by themselves."""


class Beats:
    """One heartbeat per Redis, each telling of the lanes that work there."""

    def __init__(self, context: Context, tail: Tail) -> None:
        self._context = context
        self._tail = tail
        self._started_at = context.clock.time()
        self._lanes: dict[RedisOptions, list[Lane]] = {}
        self._hearts: dict[RedisOptions, tuple[Heartbeat, AsynqRegistry, asyncio.Task[None]]] = {}

    async def add(self, lane: Lane) -> None:
        """Tell of this lane from now on; the first beat goes out before this returns, if Redis answers."""
        options = lane.options
        if options is None:
            raise RuntimeError(f"lane {lane.parent} has not registered yet")
        lanes = self._lanes.setdefault(options, [])
        if lane not in lanes:
            lanes.append(lane)
        if options in self._hearts:
            return
        context = self._context
        registry = AsynqRegistry(options, listener=context.listener, clock=context.clock)
        heart = Heartbeat(
            registry,
            lambda: self._snapshot(lanes),
            self._tail,
            figures=Figures(context.listener, context.clock),
            listener=context.listener,
            clock=context.clock,
        )
        await heart.beat_now()
        self._hearts[options] = (heart, registry, asyncio.create_task(heart.run(), name="heartbeat"))

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

    async def _end(self, options: RedisOptions, *, leave: bool) -> None:
        heart, registry, beating = self._hearts.pop(options)
        if leave:
            await asyncio.wait([asyncio.create_task(heart.leave())], timeout=STOP_PATIENCE)
        beating.cancel()
        await asyncio.wait([beating])
        await registry.close()

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
