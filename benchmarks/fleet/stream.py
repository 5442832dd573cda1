"""Many workers share a stream of short tasks."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.fleet import meter
from benchmarks.fleet.crew import crew
from benchmarks.fleet.feed import Feed, quantiles
from benchmarks.fleet.idle import SETTLING

if TYPE_CHECKING:
    from benchmarks.fleet.meter import Figures
    from benchmarks.fleet.server import FleetRedis
    from benchmarks.fleet.worker import Kind

TASK_SECONDS = 0.05


def stream(server: FleetRedis, kind: Kind, workers: int, seconds: float, *, rate: float, delay: float = 0) -> Figures:
    """The cost per task is what the stream costs beyond the same workers doing nothing just before.

    With `delay` the tasks are scheduled that many seconds ahead; what they wait is then how late they start.
    """
    kind = replace(kind, task_seconds=TASK_SECONDS)
    with server.client() as client:
        client.flushall()
        with crew(kind, workers) as fleet:
            fleet.ready()
            time.sleep(SETTLING)
            with meter.measured(client) as still:
                time.sleep(seconds / 2)
            with Feed(server, rate, delay=delay) as feed:
                time.sleep(2 + delay)
                fleet.total()
                sent = feed.sent
                with meter.measured(client) as span:
                    time.sleep(seconds)
                sent = feed.sent - sent
                report = fleet.total()
    share = span.seconds / still.seconds
    tasks = sum(report.done)
    inputs, outputs = "total_net_input_bytes", "total_net_output_bytes"
    return {
        "workers": workers,
        "rate": rate,
        "delay": delay,
        "sent": sent,
        "tasks": tasks,
        "tasks_per_s": round(tasks / span.seconds, 1),
        "cpu_percent": round(100 * span.cpu / span.seconds, 2),
        "idle_cpu_percent": round(100 * still.cpu / still.seconds, 2),
        "commands_per_task": round((span.commands - still.commands * share) / tasks, 2),
        "cpu_us_per_task": round(1e6 * (span.cpu - still.cpu * share) / tasks, 1),
        "bytes_in_per_task": round((span.count(inputs) - still.count(inputs) * share) / tasks),
        "bytes_out_per_task": round((span.count(outputs) - still.count(outputs) * share) / tasks),
        "wait_ms": quantiles(report.waits, 1000),
        "settled_after_ms": quantiles(report.totals, 1000),
        "tasks_per_worker": {
            "least": min(report.done),
            "median": statistics.median(report.done),
            "most": max(report.done),
            "deviation_percent": round(100 * statistics.pstdev(report.done) / statistics.fmean(report.done), 1),
        },
        "calls_per_task": {
            name: round((calls - still.calls().get(name, 0) * share) / tasks, 2)
            for name, calls in span.calls().items()
            if calls > tasks / 10
        },
        "host_load": meter.rates(span, workers)["host_load"],
    }
