"""What single tasks cost Redis: processor time, bytes and memory, by size; what a long list of running ones adds."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.fleet import meter
from benchmarks.fleet.crew import crew
from benchmarks.fleet.tasks import KEYS, enqueue, payload_of, processed

if TYPE_CHECKING:
    import redis

    from benchmarks.fleet.meter import Figures
    from benchmarks.fleet.server import FleetRedis
    from benchmarks.fleet.worker import Kind

_LONGEST = 120.0
_HELD_FOR = 3600.0


def _until_processed(client: redis.Redis, count: int) -> None:
    deadline = time.monotonic() + _LONGEST
    while processed(client) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {processed(client)} of {count} tasks were done")
        time.sleep(0.02)


def per_task(server: FleetRedis, kind: Kind, tasks: int, *, concurrency: int, payload: int, retention: int) -> Figures:
    """One worker that finds `tasks` pending; the price of enqueuing them is told apart."""
    kind = replace(kind, concurrency=concurrency, task_seconds=0)
    with server.client() as client:
        client.flushall()
        empty = meter.used_memory(client)
        client.set(KEYS.paused, 1)
        with meter.measured(client) as enqueuing:
            enqueue(client, tasks, payload_of(payload), retention=retention)
        pending = meter.used_memory(client) - empty
        with crew(kind, 1, processes=1) as fleet:
            fleet.ready()
            time.sleep(1)
            with meter.measured(client) as span:
                client.delete(KEYS.paused)
                _until_processed(client, tasks)
        time.sleep(0.2)
        completed = meter.used_memory(client) - empty
    return {
        "concurrency": concurrency,
        "payload": payload,
        "retention": retention,
        "tasks": tasks,
        "tasks_per_s": round(tasks / span.seconds),
        "commands_per_task": round(span.commands / tasks, 2),
        "cpu_us_per_task": round(1e6 * span.cpu / tasks, 1),
        "bytes_in_per_task": round(span.count("total_net_input_bytes") / tasks),
        "bytes_out_per_task": round(span.count("total_net_output_bytes") / tasks),
        "enqueue_cpu_us": round(1e6 * enqueuing.cpu / tasks, 1),
        "memory_pending": round(pending / tasks),
        "memory_completed": round(completed / tasks) if retention else 0,
        "host_load": meter.rates(span, 1)["host_load"],
    }


def beside_long_tasks(server: FleetRedis, kind: Kind, tasks: int, long_tasks: int) -> Figures:
    """Short tasks, one at a time, in a queue in which `long_tasks` others run all the while."""
    kind = replace(kind, concurrency=8, task_seconds=0)
    with server.client() as client:
        client.flushall()
        _hold(client, long_tasks)
        enqueue(client, tasks)
        with crew(kind, 1, processes=1) as fleet:
            with meter.measured(client) as span:
                _until_processed(client, tasks)
            del fleet
    return {
        "long_tasks": long_tasks,
        "tasks": tasks,
        "cpu_us_per_task": round(1e6 * span.cpu / tasks, 1),
        "usec_per_lrem": _usec_per_call(span, "lrem"),
    }


def _usec_per_call(span: meter.Span, command: str) -> float:
    calls = span.after.calls.get(command, 0) - span.before.calls.get(command, 0)
    usec = span.after.usec.get(command, 0) - span.before.usec.get(command, 0)
    return round(usec / calls, 2) if calls else 0.0


def _hold(client: redis.Redis, count: int) -> None:
    """Tasks that somebody runs, as a claim leaves them: oldest at the right end of active."""
    enqueue(client, count)
    ids = [str(found, "ascii") for found in client.lrange(KEYS.pending, 0, -1) if isinstance(found, bytes)]
    pipe = client.pipeline(transaction=False)
    pipe.delete(KEYS.pending)
    until = time.time() + _HELD_FOR + 0.5
    for start in range(0, len(ids), 1000):
        batch = ids[start : start + 1000]
        pipe.rpush(KEYS.active, *batch)
        pipe.zadd(KEYS.lease, dict.fromkeys(batch, until))
        for task_id in batch:
            pipe.hset(KEYS.task(task_id), mapping={"state": "active", "token": "other/1"})
    pipe.execute()
