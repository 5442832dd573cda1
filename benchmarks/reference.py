"""The reference loops: one thread, batched scripts, nothing supervised, nothing renewed, nothing survives a crash.

*serial*: claim 32, write their lines, read 32 answers, settle 32, again.
*ping-pong*: the same, but the task code is given one line at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load import PREFIX
from runqy_worker.backends.asynq.codec import decode_message

if TYPE_CHECKING:
    import redis

BATCH = 32
ECHO = Path(__file__).with_name("echo.py")

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


def run(client: redis.Redis, count: int, *, one_at_a_time: bool) -> float:
    """Tasks per second of one reference loop over `count` pending tasks."""
    claim = client.register_script(CLAIM)
    settle = client.register_script(SETTLE)
    claim_keys = [PREFIX + "pending", PREFIX + "active", PREFIX + "lease"]
    settle_keys = [PREFIX + "active", PREFIX + "lease", PREFIX + "processed"]
    with subprocess.Popen([sys.executable, str(ECHO)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        done = 0
        began = time.perf_counter()
        while done < count:
            lines, ids = [], []
            for raw in claim(keys=claim_keys, args=[int(time.time()) + 30, BATCH, PREFIX + "t:"]):
                message = decode_message(raw)
                ids.append(message.id)
                lines.append(
                    b'{"task_id":"%b","type":"%b","payload":%b,"retry_count":%d,"max_retry":%d,"queue":"%b"}\n'
                    % (
                        message.id.encode(),
                        message.type.encode(),
                        message.payload,
                        message.retried,
                        message.retry,
                        message.queue.encode(),
                    )
                )
            for group in ([line] for line in lines) if one_at_a_time else (lines,):
                child.stdin.write(b"".join(group))
                child.stdin.flush()
                for _ in group:
                    json.loads(child.stdout.readline())
            settle(keys=settle_keys, args=[PREFIX + "t:", *ids])
            done += len(ids)
        elapsed = time.perf_counter() - began
        child.stdin.close()
    return done / elapsed
