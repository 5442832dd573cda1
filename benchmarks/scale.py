"""What a task costs when there is much of everything: pending tasks, sub-queues, scheduled tasks due at once."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from benchmarks import load, site
from benchmarks.bench import Bench, Spent, say
from benchmarks.figures import Figure, Target, at_least, ratio_at_most

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.site import Place

NAME = "scale"
CONCURRENCY = 32
QUEUES = 100
SCHEDULED = 10_000
AHEAD = 6
"""Seconds. A lone worker looks every 1 to 5 s whether something sooner was scheduled; when it is due it then knows."""
SMALL, SMALL_SCHEDULED = "small case", f"{SCHEDULED:,} pending"


def measure(bench: Bench) -> list[Figure]:
    """Each round measures the small case and each large one."""
    narrow, wide = bench.place("narrow"), bench.place("wide", subs=[f"sub-{n:02}" for n in range(QUEUES)])
    tasks, pending = bench.amounts.tasks, bench.amounts.pending
    sub_queues, scheduled = f"{QUEUES} sub-queues", f"{SCHEDULED:,} scheduled, due at once"
    many = f"{pending:,} pending"
    plans: dict[str, Callable[[], Spent]] = {
        SMALL: lambda: run(bench, narrow, tasks, tasks),
        many: lambda: run(bench, narrow, pending, tasks),
        sub_queues: lambda: run(bench, wide, tasks, tasks),
        SMALL_SCHEDULED: lambda: run(bench, narrow, SCHEDULED, SCHEDULED),
        scheduled: lambda: run_scheduled(bench, narrow),
    }
    runs: dict[str, list[Spent]] = {name: [] for name in plans}
    for number in range(bench.amounts.rounds):
        for name, plan in plans.items():
            runs[name].append(plan())
        told = ", ".join(f"{name}: {spent[-1].rate:,.0f}" for name, spent in runs.items())
        say(f"scale, round {number + 1} of {bench.amounts.rounds}, tasks/s: {told}")
    small = {many: SMALL, sub_queues: SMALL, scheduled: SMALL_SCHEDULED}
    return [figure for large, beside in small.items() for figure in compared(large, runs[large], beside, runs[beside])]


def compared(large: str, runs: list[Spent], small: str, beside: list[Spent]) -> list[Figure]:
    """The figures of one large case, each beside the same of the small case."""
    what: list[tuple[str, str, Callable[[Spent], float], Target | None]] = [
        ("throughput", "tasks/s", lambda spent: spent.rate, at_least(0.8)),
        ("CPU", "µs/task", lambda spent: spent.cpu, ratio_at_most(1.2)),
        ("of that the daemon's", "µs/task", lambda spent: spent.daemon, None),
        ("of that Redis'", "µs/task", lambda spent: spent.redis, None),
        ("connections per worker", "connections", lambda spent: spent.connections, None),
    ]
    return [
        Figure(NAME, f"{large}: {name}", unit, list(map(of, runs)), list(map(of, beside)), small, target)
        for name, unit, of, target in what
    ]


def run(bench: Bench, place: Place, there: int, count: int) -> Spent:
    """The first `count` of the tasks that are there, spread over the place's queues."""
    bench.empty()
    for queue in place.queues:
        load.stage(bench.client, queue, there // len(place.queues))
    with site.worker(place, CONCURRENCY) as daemon:
        return bench.spent(daemon.pid, place.queues, count)


def run_scheduled(bench: Bench, place: Place) -> Spent:
    """From the moment when the tasks become due."""
    bench.empty()
    with site.worker(place, CONCURRENCY) as daemon:
        due = math.ceil(_now(bench)) + AHEAD
        load.stage(bench.client, place.queues[0], SCHEDULED, due=due)
        rest = due - _now(bench)
        if rest < 0.2:
            raise RuntimeError(f"scheduling {SCHEDULED} tasks took so long that they were due before")
        time.sleep(rest)
        return bench.spent(daemon.pid, place.queues, SCHEDULED, began=time.perf_counter())


def _now(bench: Bench) -> float:
    """The time by Redis' clock."""
    seconds, microseconds = _pair(bench.client.time())
    return seconds + microseconds / 1e6


def _pair(reply: Any) -> tuple[int, int]:
    return int(reply[0]), int(reply[1])
