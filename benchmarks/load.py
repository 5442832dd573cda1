"""Puts tasks into Redis the way an asynq client does, fast, and watches them being done."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.codec import TaskMessage, encode_message

if TYPE_CHECKING:
    import redis

QUEUE = "bench.default"
PREFIX = f"asynq:{{{QUEUE}}}:"


def enqueue(client: redis.Redis, count: int, payload: bytes = b'{"n":1}', *, retention: int = 0) -> None:
    """Put `count` tasks into pending, in pipelines of 1,000."""
    client.sadd("asynq:queues", QUEUE)
    now = time.time_ns()
    for start in range(0, count, 1000):
        pipe = client.pipeline(transaction=False)
        ids = [str(uuid.uuid4()) for _ in range(min(1000, count - start))]
        for task_id in ids:
            message = TaskMessage(
                type=QUEUE, payload=payload, id=task_id, queue=QUEUE, retry=3, timeout=1800, retention=retention
            )
            fields = ("msg", encode_message(message), "state", "pending", "pending_since", now)
            pipe.hset(PREFIX + "t:" + task_id, items=list(fields))
        pipe.lpush(PREFIX + "pending", *ids)
        pipe.execute()


def processed(client: redis.Redis) -> int:
    """How many attempts the worker has settled."""
    return int(client.get(PREFIX + "processed") or 0)


def throughput(client: redis.Redis, count: int, *, begin: int = 0, limit: float = 120.0) -> float:
    """Tasks per second between the first and the last settlement that is seen, sampled every 5 ms.

    `begin` is what `processed` said before the `count` tasks were enqueued.
    """
    target = begin + count
    deadline = time.monotonic() + limit
    first: tuple[float, int] | None = None
    while time.monotonic() < deadline:
        done = processed(client)
        now = time.perf_counter()
        if first is None and done > begin:
            first = (now, done)
        if done >= target and first is not None:
            return (done - first[1]) / (now - first[0])
        time.sleep(0.005)
    message = f"only {processed(client) - begin} of {count} tasks were done within {limit:.0f} s"
    raise TimeoutError(message)
