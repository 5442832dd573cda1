"""Puts tasks into Redis as an asynq client does, and sees them being done without getting in the way.

Tasks are made by a script inside Redis, in a list that no worker looks at. `release` then renames the list, which
makes all of them pending in an instant: nobody's CPU goes into enqueuing while something is measured.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.codec import TaskMessage, encode_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

SMALL = b'{"n":1}'
_CHUNK = 1000
_MARK = "00000000-0000-0000-0000-000000000000"
_STAGE = """
local ids = {}
for n = tonumber(ARGV[3]), tonumber(ARGV[4]) do
  local id = string.format('%s-0000-4000-8000-%012d', ARGV[2], n)
  if ARGV[8] == '' then
    redis.call('HSET', ARGV[1] .. id, 'msg', ARGV[5] .. id .. ARGV[6], 'state', 'pending', 'pending_since', ARGV[7])
    ids[#ids + 1] = id
  else
    redis.call('HSET', ARGV[1] .. id, 'msg', ARGV[5] .. id .. ARGV[6], 'state', 'scheduled')
    redis.call('ZADD', KEYS[1], ARGV[8], id)
  end
end
if #ids > 0 then redis.call('LPUSH', KEYS[1], unpack(ids)) end
return 1
"""
_numbers = random.Random()  # names of batches: only to be unlike each other


def prefix(queue: str) -> str:
    """What the names of a queue's keys begin with."""
    return f"asynq:{{{queue}}}:"


def message_around_id(queue: str, payload: bytes, *, retention: int = 0) -> tuple[bytes, bytes]:
    """A task's message, in two pieces: what comes before its id (36 characters), and after."""
    task = TaskMessage(type=queue, payload=payload, id=_MARK, queue=queue, retry=3, timeout=1800, retention=retention)
    head, _, tail = encode_message(task).partition(_MARK.encode())
    return head, tail


def stage(
    client: redis.Redis, queue: str, count: int, payload: bytes = SMALL, *, retention: int = 0, due: int = 0
) -> None:
    """Make `count` tasks, to be made pending by `release`; with `due` (Unix seconds) they are scheduled for then."""
    head, tail = message_around_id(queue, payload, retention=retention)
    client.sadd("asynq:queues", queue)
    script = client.register_script(_STAGE)
    batch = f"{_numbers.getrandbits(32):08x}"
    key = prefix(queue) + ("scheduled" if due else "staged")
    chunk = max(1, min(_CHUNK, 8 * 2**20 // len(payload)))
    for first in range(1, count + 1, chunk):
        last = min(count, first + chunk - 1)
        now = time.time_ns()
        script(keys=[key], args=[prefix(queue) + "t:", batch, first, last, head, tail, now, due or ""])


def release(client: redis.Redis, queues: Sequence[str]) -> float:
    """Make what was staged pending, in all queues at once. Returns `time.perf_counter()` from just before."""
    pipe = client.pipeline(transaction=False)
    for queue in queues:
        pipe.rename(prefix(queue) + "staged", prefix(queue) + "pending")
    began = time.perf_counter()
    pipe.execute()
    return began


def processed(client: redis.Redis, queues: Sequence[str]) -> int:
    """How many attempts have been settled in these queues together."""
    counters = client.mget([prefix(queue) + "processed" for queue in queues])
    return sum(int(counter or 0) for counter in counters)


def wait_done(
    client: redis.Redis, queues: Sequence[str], count: int, began: float, *, limit: float = 300.0
) -> tuple[int, float]:
    """Wait until `count` tasks were settled, starting from an empty Redis.

    Looks seldom: each time it sleeps for half of what the rest will take at the present rate (1 to 50 ms).

    Returns:
        Tasks settled at the last look (at least `count`), and seconds from `began` until then.

    Raises:
        TimeoutError: They were not done within `limit` seconds.
        RuntimeError: Some failed, so the figure would not be about what it says.
    """
    while True:
        done = processed(client, queues)
        elapsed = time.perf_counter() - began
        if done >= count:
            failed = sum(int(n or 0) for n in client.mget([prefix(queue) + "failed" for queue in queues]))
            if failed:
                raise RuntimeError(f"{failed} of {done} tasks failed")
            return done, elapsed
        if elapsed > limit:
            raise TimeoutError(f"only {done} of {count} tasks were done within {limit:.0f} s")
        rest = elapsed * (count - done) / done if done else 0.004
        time.sleep(min(0.05, max(0.001, rest / 2)))
