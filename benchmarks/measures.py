"""The single measurements."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from benchmarks import load, reference, site

if TYPE_CHECKING:
    from pathlib import Path

    import redis


@dataclass(frozen=True)
class Latency:
    """Milliseconds from just before enqueuing to the settlement being seen."""

    p50: float
    p99: float


def serial(client: redis.Redis, count: int) -> float:
    """Tasks/s of the serial reference loop."""
    return _reference(client, count, one_at_a_time=False)


def ping_pong(client: redis.Redis, count: int) -> float:
    """Tasks/s of the ping-pong reference loop."""
    return _reference(client, count, one_at_a_time=True)


def _reference(client: redis.Redis, count: int, *, one_at_a_time: bool) -> float:
    client.flushall()
    load.enqueue(client, count)
    return reference.run(client, count, one_at_a_time=one_at_a_time)


def worker_throughput(client: redis.Redis, config: Path, concurrency: int, count: int) -> float:
    """Tasks/s of a worker that finds `count` tasks pending."""
    client.flushall()
    client.set(load.PREFIX + "paused", int(time.time()))
    load.enqueue(client, count)
    with site.worker(config, concurrency):
        client.delete(load.PREFIX + "paused")
        return load.throughput(client, count)


def latency(client: redis.Redis, config: Path, count: int, *, gap: float) -> Latency:
    """An idle worker, one task at a time, `gap` seconds apart."""
    client.flushall()
    with site.worker(config, 1):
        samples = [_one(client, gap) for _ in range(count + 3)][3:]
    samples.sort()
    return Latency(statistics.median(samples), samples[min(len(samples) - 1, round(len(samples) * 0.99))])


def _one(client: redis.Redis, gap: float) -> float:
    time.sleep(gap)
    before = load.processed(client)
    began = time.perf_counter()
    load.enqueue(client, 1)
    while load.processed(client) == before:
        if time.perf_counter() - began > 30:
            raise TimeoutError("a single task was not done within 30 s")
    return (time.perf_counter() - began) * 1000


def spawn_rate(config: Path, count: int, at_once: int) -> float:
    """Bare spawns per second of the interpreter that one-shot tasks use, `at_once` side by side."""
    python = next((config.parent / "deployment-one_shot").glob("environments/*/bin/python"), None) or sys.executable
    command = [str(python), str(site.HERE / "echo_once.py")]
    running: list[subprocess.Popen[bytes]] = []
    began = time.perf_counter()
    for _ in range(count):
        if len(running) == at_once:
            running.pop(0).wait()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if process.stdin is not None:
            process.stdin.write(b'{"task_id":"a","payload":{"n":1}}\n')
            process.stdin.close()
        running.append(process)
    for process in running:
        process.wait()
    elapsed = time.perf_counter() - began
    return count / elapsed


def memory(client: redis.Redis, config: Path, count: int) -> tuple[float, float]:
    """MiB resident of the daemon when ready, and after `count` tasks."""
    client.flushall()
    with site.worker(config, 8) as process:
        daemon = psutil.Process(process.pid)
        before = daemon.memory_info().rss / 2**20
        load.enqueue(client, count)
        load.throughput(client, count)
        return before, daemon.memory_info().rss / 2**20
