"""`python -m benchmarks.fleet`: simulate a fleet on one Redis of its own, and measure what Redis carries.

The children are simulated: a task ends by itself after a while. Everything that touches Redis is real.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fleet import busy, chores, costs, idle, outages, stream
from benchmarks.fleet.server import FleetRedis, raise_limits
from benchmarks.fleet.worker import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.fleet.meter import Figures


def scenarios(server: FleetRedis, kind: Kind, args: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What can be measured, by name."""
    workers, seconds = args.workers, args.seconds
    sizes = sorted({max(1, workers // 4), max(1, workers // 2), workers})
    tasks = args.tasks

    def per_task(concurrency: int, payload: int, retention: int = 0) -> Figures:
        return costs.per_task(server, kind, tasks, concurrency=concurrency, payload=payload, retention=retention)

    def with_sub_queues(number: int) -> Figures:
        few = max(1, workers // 10)  # they do much more each: the simulating processes could not keep up
        return idle.idle(server, replace(kind, sub_queues=number), few, seconds) | {"sub_queues": number}

    return {
        "requests": lambda: chores.costs(server, kind, 2000),
        "silent": lambda: chores.silent_connections(server, 7 * workers, min(seconds, 10)),
        "tasks": lambda: [
            *(per_task(concurrency, 100) for concurrency in (1, 8, 32, 128)),
            *(per_task(32, payload) for payload in (1000, 10_000, 100_000)),
            *(per_task(32, payload, 3600) for payload in (100, 1000, 10_000)),
        ],
        "long_tasks": lambda: [costs.beside_long_tasks(server, kind, tasks // 2, held) for held in (0, 1000, 10_000)],
        "sub_queues": lambda: idle.by_sub_queues(server, kind, [1, 2, 4, 8, 9, 16], 20, seconds / 3),
        "idle": lambda: [idle.idle(server, kind, size, seconds) for size in sizes],
        "idle_parents": lambda: [
            idle.idle(server, kind, workers, seconds, parents=number) | {"parents": number}
            for number in args.queues
            if number > 1
        ],
        "idle_sub_queues": lambda: [with_sub_queues(number) for number in args.queues if number > 1],
        "busy": lambda: [
            busy.busy(server, kind, args.busy, seconds, tasks_each=each, payload=payload)
            for each, payload in ((1, 100), (8, 100), (1, 10_000))
            if args.busy
        ],
        "stream": lambda: [
            stream.stream(server, kind, size, seconds, rate=rate)
            for size, rate in ((max(1, workers // 10), args.rate), (workers, args.rate), (workers, 2 * args.rate))
        ],
        "scheduled": lambda: [
            stream.stream(server, kind, size, seconds, rate=args.rate / 10, delay=3)
            for size in (max(1, workers // 10), workers)
        ],
        "restart": lambda: outages.restart(server, kind, max(1, workers // 5), away=5, rate=args.rate / 2),
        "killed": lambda: outages.killed(server, kind, workers, max(1, workers // 10)),
    }


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--busy", type=int, default=1000, help="workers that run long tasks; 0 leaves that out")
    parser.add_argument("--seconds", type=float, default=60, help="how long each state is measured")
    parser.add_argument("--queues", type=int, nargs="*", default=[10], help="numbers of queues to spread over as well")
    parser.add_argument("--rate", type=float, default=200, help="tasks per second of the streams")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks for each cost per task")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="only these scenarios")
    parser.add_argument("--json", type=Path, help="write the results there; what it has of other scenarios stays")
    args = parser.parse_args()
    raise_limits()
    results: dict[str, Any] = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    with tempfile.TemporaryDirectory() as name, FleetRedis(Path(name) / "redis") as server:
        plans = scenarios(server, Kind(server.addr, name), args)
        unknown = [word for word in args.only if word not in plans]
        if unknown:
            parser.error(f"--only: {', '.join(unknown)} unknown; expected some of {', '.join(plans)}")
        results["machine"] = machine(server)
        for plan in args.only or plans:
            began = time.monotonic()
            results[plan] = plans[plan]()
            print(f"{plan}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if args.json:
                args.json.write_text(json.dumps(results, indent=1) + "\n")
    if not args.json:
        print(json.dumps(results, indent=1))


def machine(server: FleetRedis) -> dict[str, Any]:
    """What it was measured on."""
    with server.client() as client:
        version = client.info("server")["redis_version"]
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "redis": version,
        "allocator": _allocator(server),
    }


def _allocator(server: FleetRedis) -> str:
    with server.client() as client:
        return str(client.info("memory")["mem_allocator"])


if __name__ == "__main__":
    main()
