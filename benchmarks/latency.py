"""From enqueuing to settled, one task at a time, for a worker with nothing else to do, and among many of these.

The settlement is learnt from a keyspace notification: Redis tells a connection of ours when the queue's `processed`
counter changes. Until then the measuring program sleeps in the kernel, so that Redis, the worker and the task code
have the machine to themselves. Polling would take one of the cores away from them.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import cpu, load, site
from benchmarks.bench import Bench, say
from benchmarks.figures import Figure, at_most, quantile, ratio_at_most
from benchmarks.wire import Wire, packed
from runqy_worker.executors.guard import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "latency"
GAP = 0.01
P50, P99 = 1.2, 6.0
BARE = "bare loop"
_WARM_UP = 5
_EACH_MIB = 80
"""Memory that one more idle worker and its child may need; with less at hand fewer are started."""
_OWN = 2
"""Commands per task that are the enqueuing client's."""


@dataclass(frozen=True)
class Idle:
    """What idle workers do.

    Attributes:
        commands: Redis commands per second, those within scripts included.
        daemon: Milliseconds of CPU per second of one daemon.
    """

    commands: float
    daemon: float


def measure(bench: Bench) -> list[Figure]:
    """One worker, the bare loop, and many workers."""
    amounts = bench.amounts
    place = bench.place("idle")
    queue = place.queues[0]
    with bare_loop(bench, queue, place.child_command()):
        bare = sample(bench, queue, amounts.samples, gap=GAP)
    with site.worker(place, 1) as daemon:
        idle = at_rest(bench, [daemon.pid])
        alone, each = counted(bench, queue, idle)
        polled = sample_by_polling(bench, queue, amounts.samples // 4)
    say(f"latency, idle worker: p50 {quantile(alone, 0.5):.2f} ms, p99 {quantile(alone, 0.99):.2f} ms")
    figures = [
        Figure(NAME, f"enqueue to settled, {BARE}, p50", "ms", quantiles(bare), value=quantile(bare, 0.5)),
        *distribution(NAME, "enqueue to settled, idle worker", alone, p50=P50, p99=P99, bare=bare),
        Figure(NAME, "the same, p50, learnt by busy polling", "ms", [quantile(polled, 0.5)]),
        Figure(NAME, "Redis commands for one task, idle worker", "commands", [each]),
        Figure(NAME, "Redis commands of an idle worker", "per s", [idle.commands]),
        Figure(NAME, "CPU of an idle worker", "ms/s", [idle.daemon]),
    ]
    return figures + among_many(bench, each)


def among_many(bench: Bench, each_alone: float) -> list[Figure]:
    """The same with many workers on one queue, each in a place of its own; then with as many bare loops."""
    count = min(bench.amounts.idle_workers, int(cpu.available() / _EACH_MIB))
    if count < bench.amounts.idle_workers:
        say(f"latency: memory for {count} idle workers only")
    if count < 1:
        return []
    crowd = bench.directory / "crowd"
    places = [site.prepare(crowd, bench.addr, f"member-{n}", parent="crowd") for n in range(count)]
    queue = places[0].queues[0]
    say(f"latency: starting {count} workers")
    with site.workers(places, 1, at_once=3) as daemons:
        command = places[0].child_command()
        idle = at_rest(bench, [daemon.pid for daemon in daemons])
        samples, each = counted(bench, queue, idle)
        connections = bench.connections() / count
        say(f"latency, {count} idle workers: p50 {quantile(samples, 0.5):.2f} ms, p99 {quantile(samples, 0.99):.2f} ms")
    say(f"latency: starting {count} bare loops")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(bare_loop(bench, queue, command))
        bare = sample(bench, queue, bench.amounts.samples, gap=GAP)
    among, loops = f"{count} idle workers", f"{count} bare loops"
    return [
        Figure(NAME, f"enqueue to settled, {loops}, p50", "ms", quantiles(bare), value=quantile(bare, 0.5)),
        *distribution(NAME, f"enqueue to settled, {among}", samples, p50=P50, p99=P99, bare=bare, beside=loops),
        Figure(
            NAME,
            f"Redis commands for one task, {among}",
            "commands",
            [each],
            [each_alone],
            "one idle worker",
            ratio_at_most(1.2),
        ),
        Figure(NAME, f"Redis commands, {among}", "per s", [idle.commands]),
        Figure(NAME, f"connections per worker, {among}", "connections", [connections]),
    ]


def distribution(
    family: str,
    name: str,
    samples: Sequence[float],
    *,
    p50: float,
    p99: float,
    bare: Sequence[float] = (),
    beside: str = BARE,
) -> list[Figure]:
    """The two figures of a distribution; the first one's `rounds` hold 201 quantiles, from the least to the most."""
    return [
        Figure(
            family,
            f"{name}, {label}",
            "ms",
            quantiles(samples) if share == 0.5 else [quantile(samples, share)],
            [quantile(bare, share)] if bare else (),
            f"{beside}, {label}" if bare else "",
            at_most(most),
            value=quantile(samples, share),
        )
        for label, share, most in (("p50", 0.5, p50), ("p99", 0.99, p99))
    ]


def quantiles(samples: Sequence[float]) -> list[float]:
    """The distribution in 201 numbers."""
    return [round(quantile(samples, step / 200), 4) for step in range(201)]


def at_rest(bench: Bench, daemons: Sequence[int]) -> Idle:
    """What workers do when there is nothing to do."""
    seconds = bench.amounts.idle_seconds
    time.sleep(1)  # what follows a start is over by then
    began, calls, used = time.perf_counter(), bench.commands(), cpu.spent(*daemons)
    time.sleep(seconds)
    elapsed = time.perf_counter() - began
    return Idle((bench.commands() - calls) / elapsed, (cpu.spent(*daemons) - used) / elapsed / len(daemons) * 1000)


def counted(bench: Bench, queue: str, idle: Idle) -> tuple[list[float], float]:
    """Latency samples, and the Redis commands that each task cost beyond what idle workers do anyway."""
    began, calls = time.perf_counter(), bench.commands()
    samples = sample(bench, queue, bench.amounts.samples, gap=GAP)
    elapsed = time.perf_counter() - began
    tasks = len(samples) + _WARM_UP
    return samples, (bench.commands() - calls - elapsed * idle.commands) / tasks - _OWN


def sample(bench: Bench, queue: str, count: int, *, gap: float) -> list[float]:
    """Milliseconds from just before a task is sent until Redis says that it is settled, for `count` tasks.

    Between two tasks `gap` seconds pass, varied by a fifth so as not to keep step with anything.
    """
    rng = random.Random(count)
    samples = []
    with Wire(bench.addr) as sender, watching(bench, queue) as watcher:
        for _ in range(count + _WARM_UP):
            data = one_task(queue)
            time.sleep(gap * rng.uniform(0.8, 1.2))
            began = time.perf_counter()
            sender.send(data)
            watcher.receive()
            samples.append((time.perf_counter() - began) * 1000)
            sender.receive(), sender.receive()
    return samples[_WARM_UP:]


def sample_by_polling(bench: Bench, queue: str, count: int) -> list[float]:
    """The same, but asking Redis again and again: shows what that disturbs."""
    samples = []
    with Wire(bench.addr) as sender:
        for _ in range(count):
            before = load.processed(bench.client, [queue])
            data = one_task(queue)
            time.sleep(GAP)
            began = time.perf_counter()
            sender.send(data)
            while load.processed(bench.client, [queue]) == before:
                pass
            samples.append((time.perf_counter() - began) * 1000)
            sender.receive(), sender.receive()
    return samples


@contextlib.contextmanager
def watching(bench: Bench, queue: str) -> Iterator[Wire]:
    """A connection that gets one message whenever attempts of the queue were settled."""
    bench.client.config_set("notify-keyspace-events", "K$")
    try:
        with Wire(bench.addr) as watcher:
            watcher.call("SUBSCRIBE", f"__keyspace@0__:{load.prefix(queue)}processed")
            yield watcher
    finally:
        bench.client.config_set("notify-keyspace-events", "")


@contextlib.contextmanager
def bare_loop(bench: Bench, queue: str, child_command: Sequence[str]) -> Iterator[None]:
    """The bare reference loop as a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reference", bench.addr, queue, *child_command]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - calls prctl and nothing else
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def one_task(queue: str) -> bytes:
    """The commands that enqueue one task, as they go over the wire."""
    head, tail = load.message_around_id(queue, load.SMALL)
    task_id = str(uuid.uuid4())
    start = load.prefix(queue)
    fields = ("msg", head + task_id.encode() + tail, "state", "pending", "pending_since", time.time_ns())
    return packed(("HSET", f"{start}t:{task_id}", *fields), ("LPUSH", f"{start}pending", task_id))
