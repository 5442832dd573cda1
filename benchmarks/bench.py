"""What every measurement needs: a Redis, a folder, how much to measure, and a way to say how far it is."""

from __future__ import annotations

import os
import platform
import signal
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

from benchmarks import cpu, load, site
from runqy_worker.development.embedded_redis import EmbeddedRedis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class Amounts:
    """How much is measured.

    Attributes:
        tasks: Tasks for each throughput figure.
        one_shot_tasks: Tasks for one-shot throughput.
        rounds: Interleaved repetitions.
        samples: Tasks for each latency figure.
        one_shot_samples: Likewise, for one-shot tasks.
        idle_workers: Workers that wait on the queue in the second latency figure.
        idle_seconds: How long to look at what idle workers do; a multiple of 15, since they act every 3 and 5 s.
        payload_bytes: Bytes sent for each size of payload.
        pending: Tasks pending in the large case.
        growth_tasks: Tasks after which the daemon's memory is looked at again; 0 leaves that out.
        starts: Starts of a worker that are timed.
    """

    tasks: int = 20_000
    one_shot_tasks: int = 200
    rounds: int = 5
    samples: int = 1000
    one_shot_samples: int = 200
    idle_workers: int = 100
    idle_seconds: float = 15.0
    payload_bytes: int = 200 * 2**20
    pending: int = 1_000_000
    growth_tasks: int = 1_000_000
    starts: int = 9


FULL = Amounts()
QUICK = Amounts(
    tasks=5000,
    one_shot_tasks=40,
    rounds=2,
    samples=200,
    one_shot_samples=40,
    idle_workers=5,
    idle_seconds=5.0,
    payload_bytes=30 * 2**20,
    pending=100_000,
    growth_tasks=0,
    starts=3,
)


@dataclass(frozen=True)
class Spent:
    """What a run took.

    Attributes:
        rate: Tasks per second.
        daemon: Microseconds of the daemon's CPU per task.
        child: Likewise, of the task code's processes that live at the end.
        redis: Likewise, of Redis.
        commands: Redis commands per task, those within scripts included.
        connections: Of the worker to Redis.
    """

    rate: float
    daemon: float
    child: float
    redis: float
    commands: float
    connections: int

    @property
    def cpu(self) -> float:
        """Microseconds of CPU per task, of all three together."""
        return self.daemon + self.child + self.redis


@dataclass(frozen=True)
class Bench:
    """Where measurements take place."""

    client: redis.Redis
    server: EmbeddedRedis
    directory: Path
    amounts: Amounts

    @property
    def addr(self) -> str:
        """Redis, host:port."""
        return self.server.addr

    def place(self, name: str, *, mode: str = site.LONG_RUNNING, subs: Sequence[str] = ()) -> site.Place:
        """A place for a worker; its queue has the same name. Deployed already, so that its first start is no other."""
        place = site.prepare(self.directory, self.addr, name, mode=mode, subs=subs)
        with site.worker(place, 1):
            return place

    def empty(self) -> None:
        """Delete everything in Redis."""
        self.client.flushall()

    def spent(self, daemon: int, queues: Sequence[str], count: int, began: float | None = None) -> Spent:
        """Let a running worker do `count` staged (or, with `began`, scheduled) tasks and say what that took.

        Args:
            daemon: The worker's process.
            queues: Where the tasks are.
            count: How many are waited for.
            began: `time.perf_counter()` at which the clock starts, when nothing is to be released.
        """
        pids = cpu.children(daemon)
        calls = self.commands()
        before = cpu.spent(daemon), cpu.spent(*pids), cpu.spent(self.server.pid)
        if began is None:
            began = load.release(self.client, queues)
        done, elapsed = load.wait_done(self.client, queues, count, began)
        after = cpu.spent(daemon), cpu.spent(*pids), cpu.spent(self.server.pid)
        daemon_us, child_us, redis_us = ((now - then) / done * 1e6 for then, now in zip(before, after, strict=True))
        commands = (self.commands() - calls) / done
        return Spent(done / elapsed, daemon_us, child_us, redis_us, commands, self.connections())

    def commands(self) -> int:
        """Commands that Redis carried out so far, within scripts too."""
        stats: Any = self.client.info("commandstats")
        return sum(entry["calls"] for entry in stats.values())

    def connections(self) -> int:
        """Connections that workers have to Redis."""
        clients: Any = self.client.client_list()
        return sum(entry["name"].startswith("runqy-worker") for entry in clients)


@contextmanager
def opened(amounts: Amounts) -> Iterator[Bench]:
    """A Redis and a folder of our own, for as long as something is measured; gone also after a SIGTERM."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with (
        tempfile.TemporaryDirectory(prefix="runqy-bench-") as name,
        EmbeddedRedis(Path(name) / "redis") as server,
        redis.Redis(port=server.port) as client,
    ):
        yield Bench(client, server, Path(name), amounts)


def say(text: str) -> None:
    """Show how far it is."""
    print(f"  {text}", file=sys.stderr, flush=True)


def machine(client: redis.Redis) -> dict[str, Any]:
    """What the figures depend on."""
    info: Any = client.info("server")
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "memory_mib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / cpu.MIB),
        "system": _system(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "redis": info["redis_version"],
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
