"""What each round trip of an idle worker costs Redis by itself: one at a time, over one connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from benchmarks.fleet import meter, monitor
from benchmarks.fleet.crew import crew
from benchmarks.fleet.tasks import KEYS
from runqy_worker.app.identity import make_worker_id
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.registry import AsynqRegistry
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.events import Silent
from runqy_worker.domain.registry import WorkerSnapshot
from runqy_worker.telemetry.figures import Figures as HostFigures

if TYPE_CHECKING:
    import redis

    from benchmarks.fleet.meter import Figures
    from benchmarks.fleet.server import FleetRedis
    from benchmarks.fleet.worker import Kind


_LONGEST_PAUSE = 16.0
"""Seconds after which every chore has come at least once."""


def costs(server: FleetRedis, kind: Kind, count: int) -> list[Figures]:
    """Microseconds of Redis per round trip: a heartbeat, and every request that a worker's upkeep was seen to make."""
    found: dict[str, float] = {"heartbeat": asyncio.run(_heartbeat(server, count))}
    with server.client() as client:
        client.flushall()
        found["PING"] = _replay(client, [b"PING"], count)
        with crew(kind, 1, processes=1, spread=0) as fleet:
            fleet.ready()
            time.sleep(_LONGEST_PAUSE)  # recovery begins after a lease
            while (seen := monitor.first_upkeep(server, found, _LONGEST_PAUSE)) is not None:
                name, command = seen
                found[name] = _replay(client, command, count)
    return [{"request": name, "cpu_us": cpu} for name, cpu in found.items()]


def _replay(client: redis.Redis, command: list[bytes], count: int) -> float:
    with meter.measured(client) as span:
        for _ in range(count):
            client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it bare
    return round(1e6 * span.cpu / count, 1)


async def _heartbeat(server: FleetRedis, count: int) -> float:
    registry = AsynqRegistry(RedisOptions(server.addr), listener=Silent(), clock=SystemClock())
    snapshot = _snapshot()
    await registry.beat(snapshot, ())
    with server.client() as client, meter.measured(client) as span:
        for _ in range(count):
            await registry.beat(snapshot, ())
    await registry.close()
    return round(1e6 * span.cpu / count, 1)


def _snapshot() -> WorkerSnapshot:
    worker_id = make_worker_id()
    return WorkerSnapshot(
        worker_id=worker_id,
        host=worker_id.split(":", 1)[0],
        pid=os.getpid(),
        started_at=time.time(),
        concurrency=1,
        queues={KEYS.queue: 1},
        strict_priority=False,
        status="running",
        healthy=True,
        metrics=HostFigures().read(),
        recovery={"bench": {"state": "ready", "restarts": 0, "crashes": 0, "last_crash": ""}},
    )


def silent_connections(server: FleetRedis, count: int, seconds: float) -> Figures:
    """What connections cost that say nothing."""
    with server.client() as client, contextlib.ExitStack() as opened:
        before, memory = meter.read(client), meter.used_memory(client)
        time.sleep(seconds)
        alone = meter.read(client)
        for _ in range(count):
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        client.ping()
        time.sleep(2)
        with meter.measured(client) as span:
            time.sleep(seconds)
        grown = meter.used_memory(client) - memory
    still = (alone.cpu - before.cpu) / (alone.at - before.at)
    return {
        "connections": count,
        "cpu_us_per_s_per_connection": round(1e6 * (span.cpu / span.seconds - still) / count, 2),
        "memory_per_connection": round(grown / count),
    }
