"""What Redis holds of one queue, read in one go behind the program's back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SETS = ("lease", "scheduled", "retry", "archived", "completed")
TTL = b"(expires)"
"""Stands in a row for a time to live, which older workers leave behind."""

_LOOK = """\
local function hashes(prefix, ids)
  local rows = {}
  for _, id in ipairs(ids) do
    local key = prefix .. 't:' .. id
    local row = redis.call('HGETALL', key)
    if #row > 0 then
      if redis.call('TTL', key) >= 0 then
        row[#row + 1] = '(expires)'
        row[#row + 1] = '1'
      end
      rows[#rows + 1] = id
      rows[#rows + 1] = row
    end
  end
  return rows
end
local blocked = string.match(redis.call('INFO', 'clients'), 'blocked_clients:(%d+)')
local answer, at = {tonumber(blocked)}, 1
while at <= #ARGV do
  local prefix, kind, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local ids = {}
  if kind == 'all' then
    for _, key in ipairs(redis.call('KEYS', prefix .. 't:*')) do ids[#ids + 1] = string.sub(key, #prefix + 3) end
  else
    for offset = 1, count do ids[offset] = ARGV[at + 2 + offset] end
  end
  at = at + 3 + count
  if kind == 'rows' then
    answer[#answer + 1] = hashes(prefix, ids)
  else
    local function scores(name) return redis.call('ZRANGE', prefix .. name, 0, -1, 'WITHSCORES') end
    answer[#answer + 1] = {
      redis.call('LRANGE', prefix .. 'pending', 0, -1), redis.call('LRANGE', prefix .. 'active', 0, -1),
      {scores('lease'), scores('scheduled'), scores('retry'), scores('archived'), scores('completed')},
      redis.call('EXISTS', prefix .. 'paused'),
      tonumber(redis.call('GET', prefix .. 'processed') or 0), tonumber(redis.call('GET', prefix .. 'failed') or 0),
      hashes(prefix, ids)
    }
  end
end
return answer
"""


@dataclass(slots=True)
class Seen:
    """One queue as Redis has it.

    Attributes:
        pending: Ids, who is next first.
        active: Ids, who was taken first is first.
        sets: The sorted sets by name, id to score.
        asked: Whose hashes were asked for, besides those that exist where all were.
        rows: Task hashes by id; those that were asked for and exist.
    """

    pending: list[bytes]
    active: list[bytes]
    sets: dict[str, dict[bytes, float]]
    paused: bool
    processed: int
    failed: int
    asked: set[bytes]
    rows: dict[bytes, dict[bytes, bytes]]


class Eye:
    """Reads queues. `db` is a plain client that returns bytes."""

    def __init__(self, db: Any) -> None:
        self._look = db.register_script(_LOOK)

    def look(self, queues: Mapping[str, Collection[bytes]], *, everything: bool) -> tuple[int, dict[str, Seen]]:
        """How many clients are blocked, and these queues, with the hashes of these tasks, or of all."""
        asked = {queue: set(ids) for queue, ids in queues.items()}
        words: list[str | bytes | int] = []
        for queue, ids in asked.items():
            words += (
                (QueueKeys(queue).prefix, "all", 0) if everything else (QueueKeys(queue).prefix, "", len(ids), *ids)
            )
        blocked, *answers = self._look(args=words)
        return blocked, {queue: _seen(answer, ids) for (queue, ids), answer in zip(asked.items(), answers, strict=True)}

    def rows(self, queue: str, ids: Collection[bytes]) -> dict[bytes, dict[bytes, bytes]]:
        """The hashes of these tasks, those that exist."""
        return _rows(self._look(args=[QueueKeys(queue).prefix, "rows", len(ids), *ids])[1])


def _seen(answer: list[Any], asked: set[bytes]) -> Seen:
    pending, active, sets, paused, processed, failed, rows = answer
    scores = {
        name: dict(zip(flat[::2], map(float, flat[1::2]), strict=True)) for name, flat in zip(SETS, sets, strict=True)
    }
    return Seen(pending[::-1], active[::-1], scores, bool(paused), processed, failed, asked, _rows(rows))


def _rows(flat: list[Any]) -> dict[bytes, dict[bytes, bytes]]:
    return {
        task_id: dict(zip(row[::2], row[1::2], strict=True)) for task_id, row in zip(flat[::2], flat[1::2], strict=True)
    }
