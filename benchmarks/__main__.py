"""`python -m benchmarks`: measure the worker with the reference loops beside it, and print a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from benchmarks import measures, site
from runqy_worker.development.embedded_redis import EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20000, help="tasks per throughput figure")
    parser.add_argument("--one-shot-tasks", type=int, default=200)
    parser.add_argument("--samples", type=int, default=200, help="tasks per latency figure")
    parser.add_argument("--repeat", type=int, default=3, help="interleaved repetitions; medians are shown")
    parser.add_argument("--concurrency", type=int, nargs="*", default=[1, 8, 32])
    parser.add_argument("--json", type=Path, help="write the results there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, EmbeddedRedis(Path(name) / "redis") as server:
        host, port = server.addr.rsplit(":", 1)
        with redis.Redis(host=host, port=int(port)) as client:
            results = measure(client, Path(name), server.addr, args)
    for key, value in results.items():
        print(f"{key:44} {value}")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


def measure(client: redis.Redis, directory: Path, addr: str, args: argparse.Namespace) -> dict[str, Any]:
    """All figures, by name."""
    long_running = site.prepare(directory, addr, mode="long_running")
    one_shot = site.prepare(directory, addr, mode="one_shot")
    plans: dict[str, Callable[[], float]] = {
        "serial loop, tasks/s": lambda: measures.serial(client, args.tasks),
        "ping-pong loop, tasks/s": lambda: measures.ping_pong(client, args.tasks),
    }
    for concurrency in args.concurrency:
        plans[f"worker, concurrency {concurrency}, tasks/s"] = lambda concurrency=concurrency: (  # type: ignore[misc]  # bound at once
            measures.worker_throughput(client, long_running, concurrency, args.tasks)
        )
    cores = os.cpu_count() or 1
    plans[f"one-shot, concurrency {cores}, tasks/s"] = lambda: measures.worker_throughput(
        client, one_shot, cores, args.one_shot_tasks
    )
    plans[f"bare spawns, {cores} at once, per s"] = lambda: measures.spawn_rate(one_shot, args.one_shot_tasks, cores)
    rounds = [{name: _told(name, plan()) for name, plan in plans.items()} for _ in range(args.repeat)]
    results: dict[str, Any] = {
        "machine": f"{cores} cores, {platform.machine()}, Python {platform.python_version()}",
        "redis": client.info("server")["redis_version"],
    }
    results |= {name: round(statistics.median(round_[name] for round_ in rounds)) for name in plans}
    idle = measures.latency(client, long_running, args.samples, gap=0.01)
    once = measures.latency(client, one_shot, args.samples // 4, gap=0.15)
    before, after = measures.memory(client, long_running, args.tasks)
    return results | {
        "enqueue to settled, idle, ms p50": round(idle.p50, 2),
        "enqueue to settled, idle, ms p99": round(idle.p99, 2),
        "one-shot, 150 ms apart, ms p50": round(once.p50, 2),
        "one-shot, 150 ms apart, ms p99": round(once.p99, 2),
        "daemon, MiB resident when ready": round(before, 1),
        f"daemon, MiB resident after {args.tasks} tasks": round(after, 1),
    }


def _told(name: str, value: float) -> float:
    """Show a single measurement while the rest goes on."""
    print(f"  {name}: {value:,.0f}", file=sys.stderr, flush=True)
    return value


if __name__ == "__main__":
    main()
