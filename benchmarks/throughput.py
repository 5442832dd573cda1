"""Throughput of one worker at several concurrencies, with the reference loops in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import cpu, load, site
from benchmarks.bench import Bench, Spent, say
from benchmarks.figures import Figure, at_least
from benchmarks.reference import BATCH, Loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.site import Place

NAME = "throughput"
SERIAL, PING_PONG = "serial loop", "ping-pong loop"
TARGETS = {1: (PING_PONG, 0.75), 8: (SERIAL, 0.9), 32: (SERIAL, 1.0), 128: (SERIAL, 1.0)}


@dataclass(frozen=True)
class LoopSpent:
    """What a run of a reference loop took.

    Attributes:
        rate: Tasks per second.
        cpu: Microseconds of CPU per task: the loop, the task code and Redis together.
        commands: Redis commands per task, those within scripts included.
    """

    rate: float
    cpu: float
    commands: float


def measure(bench: Bench) -> list[Figure]:
    """Each round measures both loops and each concurrency once."""
    place = bench.place("bench")
    count, rounds = bench.amounts.tasks, bench.amounts.rounds
    loops: dict[str, list[float]] = {SERIAL: [], PING_PONG: []}
    runs: dict[int, list[Spent]] = {concurrency: [] for concurrency in TARGETS}
    for number in range(rounds):
        for name, at_once in ((SERIAL, BATCH), (PING_PONG, 1)):
            loops[name].append(loop(bench, place.queues[0], place.child_command(), count, at_once=at_once).rate)
        for concurrency, spent in runs.items():
            spent.append(one(bench, place, concurrency, count))
        told = ", ".join(f"{concurrency}: {spent[-1].rate:,.0f}" for concurrency, spent in runs.items())
        said = ", ".join(f"{name} {rates[-1]:,.0f}" for name, rates in loops.items())
        say(f"throughput, round {number + 1} of {rounds}, tasks/s: {said}, at concurrency {told}")
    figures = []
    for concurrency, spent in runs.items():
        reference, least = TARGETS[concurrency]
        name = f"throughput, concurrency {concurrency}"
        rates = [run.rate for run in spent]
        figures.append(Figure(NAME, name, "tasks/s", rates, loops[reference], reference, at_least(least)))
    for concurrency, spent in runs.items():
        name = f"daemon's CPU, concurrency {concurrency}"
        figures.append(Figure(NAME, name, "µs/task", [run.daemon for run in spent]))
    return [
        *figures,
        Figure(NAME, "Redis' CPU, concurrency 32", "µs/task", [run.redis for run in runs[32]]),
        Figure(NAME, "Redis commands, concurrency 32", "per task", [run.commands for run in runs[32]]),
    ]


def one(bench: Bench, place: Place, concurrency: int, count: int) -> Spent:
    """One run of a freshly started worker."""
    bench.empty()
    load.stage(bench.client, place.queues[0], count)
    with site.worker(place, concurrency) as daemon:
        return bench.spent(daemon.pid, place.queues, count)


def loop(bench: Bench, queue: str, command: Sequence[str], count: int, *, at_once: int) -> LoopSpent:
    """A reference loop on a queue of which nobody else takes; `at_once` lines are given to the task code together."""
    bench.empty()
    load.stage(bench.client, queue, count)
    load.release(bench.client, [queue])
    calls, used = bench.commands(), cpu.spent_here() + cpu.spent(bench.server.pid)
    rate = Loop(bench.client, queue, command).run(count, at_once=at_once)
    used = cpu.spent_here() + cpu.spent(bench.server.pid) - used
    return LoopSpent(rate, used / count * 1e6, (bench.commands() - calls) / count)
