"""Enqueues the fleet's tasks, with the script that the project's own client uses."""

from __future__ import annotations

import time

import msgspec
import redis

from runqy_worker.backends.asynq.keys import QUEUES, QueueKeys
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.backends.asynq.scripts import load, source_of

KEYS = QueueKeys("bench.default")
"""The queue that all of the fleet's tasks are in."""
SMALL = b'{"n":1}'
_BATCH = 500


def enqueue(client: redis.Redis, count: int, payload: bytes = SMALL, *, retention: int = 0, due: float = 0) -> None:
    """Enqueue `count` tasks; with `due` (Unix seconds) they are scheduled for then."""
    client.sadd(QUEUES, KEYS.queue)
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        batch = [NewTask(KEYS.queue, payload, retention=retention, process_at=due, lookup=False) for _ in range(size)]
        try:
            _send(client, batch)
        except redis.exceptions.NoScriptError:
            client.script_load(source_of(load("enqueue").sha).decode())
            _send(client, batch)


def _send(client: redis.Redis, batch: list[NewTask]) -> None:
    pipe = client.pipeline(transaction=False)
    for task in batch:
        pipe.execute_command(*task.command())  # type: ignore[no-untyped-call]  # redis-py leaves it bare
    pipe.execute()


def processed(client: redis.Redis) -> int:
    """How many attempts were settled."""
    return int(client.get(KEYS.processed) or 0)


def payload_of(size: int) -> bytes:
    """A JSON payload of `size` bytes, at least 8."""
    return b'{"x":"%b"}' % (b"x" * (size - 8))


def stamp(ahead: float = 0) -> bytes:
    """A payload that carries the time, or one that many seconds ahead."""
    return b'{"at":%.6f}' % (time.monotonic() + ahead)


class _Stamp(msgspec.Struct):
    at: float = 0.0


_decoder = msgspec.json.Decoder(_Stamp)


def stamped_at(payload: bytes) -> float:
    """The time that a payload carries; 0 when it carries none."""
    try:
        return _decoder.decode(payload).at
    except msgspec.MsgspecError:
        return 0.0
