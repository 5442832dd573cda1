"""What workers cost Redis that have nothing to do."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.fleet import meter, monitor
from benchmarks.fleet.crew import crew

if TYPE_CHECKING:
    import redis

    from benchmarks.fleet.meter import Figures
    from benchmarks.fleet.server import FleetRedis
    from benchmarks.fleet.worker import Kind

SETTLING = 15.0
"""Seconds until recovery has begun everywhere: it waits for one lease after connecting."""
_MONITORED = 10.0
"""Seconds; some requests come every 10 s only."""

_BEATS = 0.17
"""Heartbeats per second and worker; below that the simulating processes have no time left, and the figures mislead."""


def idle(server: FleetRedis, kind: Kind, workers: int, seconds: float, *, parents: int = 1) -> Figures:
    """Workers on one or several parent queues, each with the same number of sub-queues."""
    with server.client() as client:
        client.flushall()
        before = meter.used_memory(client)
        with crew(kind, workers, parents=parents) as fleet:
            fleet.ready()
            time.sleep(SETTLING)
            with meter.measured(client) as span:
                time.sleep(seconds)
            figures = meter.rates(span, workers)
            figures["kept_up"] = span.calls().get("exec", 0) / span.seconds / workers > _BEATS
            figures["calls_per_s_per_worker"] = {
                name: round(calls / span.seconds / workers, 3) for name, calls in span.calls().items()
            }
            figures["memory_per_worker"] = round((meter.used_memory(client) - before) / workers)
            figures |= who_asks(server, client, workers)
    return figures


def who_asks(server: FleetRedis, client: redis.Redis, workers: int) -> Figures:
    """Connections, and requests per second and worker by kind; takes a while and costs Redis much."""
    shares = monitor.requests(client, "127.0.0.1", server.port, _MONITORED)
    per_worker = {name: round(rate / workers, 3) for name, rate in shares.items()}
    return {
        **meter.connections(client),
        "requests_per_s_per_worker": {name: rate for name, rate in per_worker.items() if rate >= 0.001},
    }


def by_sub_queues(server: FleetRedis, kind: Kind, numbers: list[int], workers: int, seconds: float) -> list[Figures]:
    """The same for a few workers with ever more sub-queues."""
    found = []
    for number in numbers:
        figures = idle(server, replace(kind, sub_queues=number), workers, seconds)
        found.append({"sub_queues": number, **figures})
    return found
