"""What happens to the fleet when Redis goes and comes back, and when many workers are killed at once."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.fleet import meter
from benchmarks.fleet.crew import Crew, crew
from benchmarks.fleet.feed import Feed, quantiles
from benchmarks.fleet.host import HostPlan
from benchmarks.fleet.idle import SETTLING
from benchmarks.fleet.tasks import KEYS, enqueue, stamp

if TYPE_CHECKING:
    from benchmarks.fleet.meter import Figures
    from benchmarks.fleet.server import FleetRedis
    from benchmarks.fleet.worker import Kind

_BUCKET = 0.1
_FOR_EVER = 3600.0
_LONGEST = 90.0
_WATCHED = 15.0
"""Seconds that are watched after Redis came back."""


def restart(server: FleetRedis, kind: Kind, workers: int, *, away: float, rate: float) -> Figures:
    """Redis is shut down under a stream of tasks, stays away, and comes back with its data."""
    kind = replace(kind, task_seconds=0.05)
    with server.client() as client:
        client.flushall()
        with crew(kind, workers) as fleet:
            fleet.ready()
            time.sleep(SETTLING)
            with Feed(server, rate):
                time.sleep(2)
                server.put_down()
                time.sleep(away)
                fleet.total()
                server.start()
                back = server.loaded_at()
                with meter.measured(client) as span:
                    time.sleep(_WATCHED)
                report = fleet.total()
            time.sleep(SETTLING)
            left = client.llen(KEYS.pending) + client.llen(KEYS.active)
    made, waiting, settled = (
        sorted(at - back for at in times if at >= back)
        for times in (report.connected_at, report.waiting_at, report.settled_at)
    )
    buckets = Counter(int(after / _BUCKET) for after in made)
    return {
        "workers": workers,
        "away_seconds": away,
        "rate": rate,
        "workers_back": len(waiting),
        "half_back_after": _at_share(waiting, 0.5),
        "all_back_after": _at_share(waiting, 1.0),
        "first_task_settled_after": _at_share(settled, 0.0),
        "tasks_settled": len(settled),
        "connections_made": span.count("total_connections_received"),
        "connections_rejected": span.count("rejected_connections"),
        "peak_connections_per_s": round(max(buckets.values(), default=0) / _BUCKET),
        "cpu_percent": round(100 * span.cpu / span.seconds, 1),
        "wait_ms": quantiles(report.waits, 1000),
        "notices": dict(report.notices.most_common()),
        "left_behind": left,
        "host_load": meter.rates(span, workers)["host_load"],
    }


def _at_share(ordered: list[float], share: float) -> float:
    """The value below which that share lies; 0 when there is none."""
    return round(ordered[int((len(ordered) - 1) * share)], 2) if ordered else 0.0


def killed(server: FleetRedis, kind: Kind, workers: int, victims: int) -> Figures:
    """Every worker runs one long task and has one free slot; some are killed at once."""
    kind = replace(kind, concurrency=2, task_seconds=_FOR_EVER)
    rest = workers - victims
    plans = [HostPlan(kind, ("bench",) * victims)]
    plans += [HostPlan(kind, ("bench",) * (rest // 3 + (number < rest % 3))) for number in range(3)]
    with server.client() as client:
        client.flushall()
        with Crew(plans) as fleet:
            fleet.ready()
            time.sleep(SETTLING)
            for _ in range(workers // 10):
                enqueue(client, 10, stamp())
                time.sleep(0.02)
            fleet.until(lambda report: report.running == workers)
            held = fleet.reports()[0].running
            fleet.kill(0)
            at = time.monotonic()
            again: list[float] = []
            while len(again) < held and time.monotonic() - at < _LONGEST:
                time.sleep(0.5)
                again += fleet.total().rerun_at
    return {
        "workers": workers,
        "killed": victims,
        "tasks_held": held,
        "tasks_run_again": len(again),
        "first_after": round(min(again, default=at) - at, 2),
        "run_again_after": quantiles([moment - at for moment in again]),
    }
