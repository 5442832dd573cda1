"""One-shot tasks: a fresh process for each. How soon one is done, and how many, beside bare spawns."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks import load, site
from benchmarks.bench import Bench, say
from benchmarks.figures import Figure, at_least, quantile
from benchmarks.latency import distribution, sample
from benchmarks.spawning import spawn_rate

if TYPE_CHECKING:
    from benchmarks.site import Place

NAME = "one_shot"
GAP = 0.15
BARE = "bare spawns"


def measure(bench: Bench) -> list[Figure]:
    """Latency with `GAP` seconds between tasks; then throughput with as many at once as there are cores."""
    place = bench.place("once", mode=site.ONE_SHOT)
    amounts = bench.amounts
    with site.worker(place, 1):
        samples = sample(bench, place.queues[0], amounts.one_shot_samples, gap=GAP)
    say(f"one-shot latency: p50 {quantile(samples, 0.5):.2f} ms, p99 {quantile(samples, 0.99):.2f} ms")
    cores = len(os.sched_getaffinity(0))
    bare: list[float] = []
    rates: list[float] = []
    for number in range(amounts.rounds):
        bare.append(spawn_rate(place.child_command(), amounts.one_shot_tasks, cores))
        rates.append(one(bench, place, cores))
        told = f"{rates[-1]:.1f} tasks/s, bare spawns {bare[-1]:.1f} per s"
        say(f"one-shot, round {number + 1} of {amounts.rounds}: {told}")
    name = f"one-shot throughput, concurrency {cores}"
    return [
        *distribution(NAME, "one-shot, enqueue to settled", samples, p50=8.0, p99=40.0),
        Figure(NAME, name, "tasks/s", rates, bare, f"{BARE}, {cores} at once", at_least(0.85)),
    ]


def one(bench: Bench, place: Place, concurrency: int) -> float:
    """Tasks/s of a freshly started worker."""
    bench.empty()
    load.stage(bench.client, place.queues[0], bench.amounts.one_shot_tasks)
    with site.worker(place, concurrency) as daemon:
        return bench.spent(daemon.pid, place.queues, bench.amounts.one_shot_tasks).rate
