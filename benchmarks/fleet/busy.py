"""What workers cost Redis that run long tasks: renewals, and heartbeats that name the running tasks."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.fleet import meter
from benchmarks.fleet.crew import crew
from benchmarks.fleet.idle import SETTLING, who_asks
from benchmarks.fleet.tasks import enqueue, payload_of

if TYPE_CHECKING:
    from benchmarks.fleet.meter import Figures
    from benchmarks.fleet.server import FleetRedis
    from benchmarks.fleet.worker import Kind

_FOR_EVER = 3600.0


def busy(server: FleetRedis, kind: Kind, workers: int, seconds: float, *, tasks_each: int, payload: int) -> Figures:
    """Every worker runs `tasks_each` tasks that do not end, with `payload` bytes each; none has a free slot."""
    kind = replace(kind, concurrency=tasks_each, task_seconds=_FOR_EVER)
    with server.client() as client:
        client.flushall()
        with crew(kind, workers) as fleet:
            fleet.ready()
            enqueue(client, workers * tasks_each, payload_of(payload))
            fleet.until(lambda report: report.running == workers * tasks_each)
            time.sleep(SETTLING)
            with meter.measured(client) as span:
                time.sleep(seconds)
            figures = meter.rates(span, workers)
            figures |= {"tasks_each": tasks_each, "payload": payload}
            figures |= who_asks(server, client, workers)
    return figures
