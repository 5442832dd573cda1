"""The reference loops: one thread, batched scripts, nothing supervised, nothing renewed, nothing survives a crash.

*serial*: claim a batch (32 unless told otherwise), write its lines, read its answers, settle it, again.
*ping-pong*: the same, but the task code is given one line at a time.
*bare*: for latency, a process of its own: wait in BLMOVE, take the one task, a line, an answer, settle, again.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import redis

from benchmarks.load import prefix
from runqy_worker.backends.asynq.codec import decode_message

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 32
_PIPE = 60_000
"""Bytes that surely fit into a pipe: beyond that, writing and reading must take turns."""

CLAIM = """
local taken = {}
for _ = 1, tonumber(ARGV[2]) do
  local id = redis.call('RPOPLPUSH', KEYS[1], KEYS[2])
  if not id then break end
  redis.call('HSET', ARGV[3] .. id, 'state', 'active')
  redis.call('HDEL', ARGV[3] .. id, 'pending_since')
  redis.call('ZADD', KEYS[3], ARGV[1], id)
  taken[#taken + 1] = redis.call('HGET', ARGV[3] .. id, 'msg')
end
return taken
"""
ADOPT = """
local id = ARGV[3]
redis.call('HSET', ARGV[2] .. id, 'state', 'active')
redis.call('HDEL', ARGV[2] .. id, 'pending_since')
redis.call('ZADD', KEYS[1], ARGV[1], id)
return redis.call('HGET', ARGV[2] .. id, 'msg')
"""
SETTLE = """
for index = 2, #ARGV do
  local id = ARGV[index]
  if redis.call('LREM', KEYS[1], 0, id) == 1 and redis.call('ZREM', KEYS[2], id) == 1 then
    redis.call('DEL', ARGV[1] .. id)
    redis.call('INCR', KEYS[3])
  end
end
return 1
"""
KEEP = """
for index = 3, #ARGV, 2 do
  local id = ARGV[index]
  if redis.call('LREM', KEYS[1], 0, id) == 1 and redis.call('ZREM', KEYS[2], id) == 1 then
    redis.call('HSET', ARGV[1] .. id, 'state', 'completed', 'result', ARGV[index + 1])
    redis.call('ZADD', KEYS[4], ARGV[2], id)
    redis.call('INCR', KEYS[3])
  end
end
return 1
"""


class Loop:
    """One thread that moves tasks between Redis and one child.

    Args:
        client: Redis.
        queue: Where the tasks are.
        command: Starts the child.
        keep: Write results and keep the tasks, as a worker does for tasks that ask for it.
    """

    def __init__(self, client: redis.Redis, queue: str, command: Sequence[str], *, keep: bool = False) -> None:
        self._client = client
        self._prefix = prefix(queue)
        self._command = command
        self._keep = keep
        self._claim = client.register_script(CLAIM)
        self._settle = client.register_script(KEEP if keep else SETTLE)
        names = ("active", "lease", "processed", "completed")
        self._settle_keys = [self._prefix + name for name in names]

    def run(self, count: int, *, batch: int = BATCH, at_once: int = BATCH) -> float:
        """Tasks per second over `count` pending tasks.

        Args:
            count: Tasks to do.
            batch: Tasks to claim and to settle in one call.
            at_once: Most unanswered lines.
        """
        with subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdout.readline()
            done = 0
            began = time.perf_counter()
            while done < count:
                ids, lines = self._take(batch)
                answers: list[bytes] = []
                for first in range(0, len(lines), at_once):
                    answers += exchange(child, lines[first : first + at_once])
                self._finish(ids, [json.loads(answer) for answer in answers])
                done += len(ids)
            elapsed = time.perf_counter() - began
            child.stdin.close()
        return done / elapsed

    def _take(self, batch: int) -> tuple[list[str], list[bytes]]:
        keys = [self._prefix + name for name in ("pending", "active", "lease")]
        messages = [
            decode_message(raw) for raw in self._claim(keys=keys, args=[lease_end(), batch, self._prefix + "t:"])
        ]
        return [message.id for message in messages], [request_line(message) for message in messages]

    def _finish(self, ids: list[str], answers: list[Any]) -> None:
        if not self._keep:
            self._settle(keys=self._settle_keys, args=[self._prefix + "t:", *ids])
            return
        results = [json.dumps(answer["result"]) for answer in answers]
        pairs = [word for pair in zip(ids, results, strict=True) for word in pair]
        self._settle(keys=self._settle_keys, args=[self._prefix + "t:", int(time.time()) + 3600, *pairs])


def lease_end() -> int:
    """When a claim made now runs out, as asynq writes it."""
    return int(time.time()) + 30


def request_line(message: Any) -> bytes:
    """What the task code is given."""
    return b'{"task_id":"%b","type":"%b","payload":%b,"retry_count":%d,"max_retry":%d,"queue":"%b"}\n' % (
        message.id.encode(),
        message.type.encode(),
        message.payload,
        message.retried,
        message.retry,
        message.queue.encode(),
    )


def exchange(child: subprocess.Popen[bytes], lines: list[bytes]) -> list[bytes]:
    """Write the lines, read as many answers."""
    assert child.stdin is not None
    assert child.stdout is not None
    data = b"".join(lines)
    if len(data) > _PIPE and len(lines) > 1:
        return _pump(child.stdin.fileno(), child.stdout.fileno(), data, len(lines))
    child.stdin.write(data)
    child.stdin.flush()
    return [child.stdout.readline() for _ in lines]


def _pump(to_child: int, from_child: int, data: bytes, count: int) -> list[bytes]:
    """Write and read in turns, whichever is possible: the child may answer the first line before we wrote the last."""
    rest = memoryview(data)
    pieces: list[bytes] = []
    os.set_blocking(to_child, False)
    try:
        while count:
            readable, writable, _ = select.select([from_child], [to_child] if rest else [], [])
            if readable:
                piece = os.read(from_child, 2**20)
                pieces.append(piece)
                count -= piece.count(b"\n")
            if writable:
                rest = rest[os.write(to_child, rest[: 2**20]) :]
    finally:
        os.set_blocking(to_child, True)
    return b"".join(pieces).splitlines()


def serve_bare(addr: str, queue: str, command: Sequence[str]) -> None:
    """Take one task at a time from `queue`, until killed. Prints a line once it waits."""
    host, port = addr.rsplit(":", 1)
    client = redis.Redis(host=host, port=int(port))
    adopt, settle = client.register_script(ADOPT), client.register_script(SETTLE)
    start = prefix(queue)
    keys = [start + "active", start + "lease", start + "processed"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        print("ready", flush=True)
        while True:
            taken: Any = client.blmove(start + "pending", start + "active", 1, "RIGHT", "LEFT")
            if taken is not None:
                raw = adopt(keys=[start + "lease"], args=[lease_end(), start + "t:", taken])
                exchange(child, [request_line(decode_message(raw))])
                settle(keys=keys, args=[start + "t:", taken])


if __name__ == "__main__":
    serve_bare(sys.argv[1], sys.argv[2], sys.argv[3:])
