"""Time made fast: a Redis whose clock is ours.

The scripts ask Redis for the time, so that no host's clock matters. Three ways to make an hour pass in microseconds
were weighed:

- redis-server under libfaketime: nothing of ours is touched, but the library is not on every machine that runs
  `make test`, and Redis also reads the processor's own counter.
- Moving every stored time into the past: the scripts stay as they are, but each step costs as much as there is data,
  the times inside messages and the counters of a day stay behind, and real time goes on meanwhile, so that no run can
  be repeated.
- Answering `TIME` ourselves, which is done here: each script is sent with `PRELUDE` in front of its unchanged text. The
  prelude stands between the script and `redis.call`; it answers TIME from a key, and keeps what would expire by itself
  (locks, stewards, counters of a day) in a set that moves with the same key. Everything else goes through.

So a run is a function of its seed alone: no real time enters it, and a counterexample can be shrunk. The unchanged
scripts under real time are walked elsewhere, in tests/integration/backends.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from runqy_worker.backends.asynq import scripts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOW = "clock:now"
"""Microseconds since 1970."""
EXPIRIES = "clock:expiries"
"""Keys that expire, at which millisecond."""

PRELUDE = """\
local server = redis
local function call(command, ...)
  local words = {...}
  if command == 'TIME' then
    local now = server.call('GET', 'clock:now')
    return {string.sub(now, 1, -7), string.format('%d', tonumber(string.sub(now, -6)))}
  elseif command == 'PTTL' then
    local ends = server.call('ZSCORE', 'clock:expiries', words[1])
    return ends and tonumber(ends) - math.floor(tonumber(server.call('GET', 'clock:now')) / 1000) or -1
  elseif command == 'EXPIREAT' then
    return server.call('ZADD', 'clock:expiries', tonumber(words[2]) * 1000, words[1])
  elseif command == 'SET' then
    for at = #words - 1, 3, -1 do
      if words[at] == 'EX' or words[at] == 'PX' then
        local lasts = tonumber(words[at + 1]) * (words[at] == 'EX' and 1000 or 1)
        table.remove(words, at + 1)
        table.remove(words, at)
        local done = server.call('SET', unpack(words))
        if done then
          local now = math.floor(tonumber(server.call('GET', 'clock:now')) / 1000)
          server.call('ZADD', 'clock:expiries', now + lasts, words[1])
        end
        return done
      end
    end
  end
  return server.call(command, ...)
end
local redis = setmetatable({call = call}, {__index = server})
"""

_ADVANCE = """\
redis.call('SET', 'clock:now', ARGV[1])
for _, key in ipairs(redis.call('ZRANGEBYSCORE', 'clock:expiries', '-inf', ARGV[2])) do
  redis.call('DEL', key)
  redis.call('ZREM', 'clock:expiries', key)
end
"""

_BEGIN = 1_760_140_200
"""A whole second, half an hour before a midnight (UTC)."""


class FastClock:
    """Moves only when told, and the Redis of the run with it.

    Attributes:
        micros: Microseconds since 1970.
    """

    def __init__(self, db: Any) -> None:
        self._advance = db.register_script(_ADVANCE)
        self.micros = _BEGIN * 1_000_000
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.micros += round(seconds * 1_000_000)
        self._advance(args=[self.micros, self.micros // 1000])

    def time(self) -> float:
        return self.micros / 1_000_000

    def monotonic(self) -> float:
        return self.micros / 1_000_000 - _BEGIN + 1_000.0

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self.micros / 1_000_000 - _BEGIN

    @property
    def nanos(self) -> bytes:
        """As the scripts write `pending_since`."""
        return b"%d000" % self.micros


class HostClock:
    """A worker's own: it goes as fast, but may be set wrong.

    Attributes:
        skew: Seconds that it is ahead.
    """

    def __init__(self, clock: FastClock, skew: float) -> None:
        self._clock = clock
        self.skew = skew

    def time(self) -> float:
        return self._clock.time() + self.skew

    def monotonic(self) -> float:
        return self._clock.monotonic()


SHARED = "misfit.lua"
"""Functions that scripts include: no script of its own."""


class Edit(NamedTuple):
    """A deliberate mistake in a copy of one script: `old` must stand in it exactly once."""

    script: str
    old: str
    new: str


@contextmanager
def scripts_on_our_clock(folder: Path, edits: Sequence[Edit] = ()) -> Iterator[None]:
    """Within the block, the program loads copies of its scripts that have the prelude, and these mistakes."""
    copies = folder / "lua"
    copies.mkdir()
    left = list(edits)
    for file in resources.files("runqy_worker.backends.asynq").joinpath("lua").iterdir():
        text = file.read_text()
        for edit in edits:
            if f"{edit.script}.lua" == file.name:
                if text.count(edit.old) != 1:
                    raise LookupError(f"{file.name} has {edit.old!r} {text.count(edit.old)} times, expected once")
                text = text.replace(edit.old, edit.new)
                left.remove(edit)
        if text.startswith("#!"):
            raise ValueError(f"{file.name} begins with a shebang, which has to stay in front of the prelude")
        (copies / file.name).write_text(text if file.name == SHARED else PRELUDE + text)
    if left:
        raise LookupError(f"there are no scripts {[edit.script for edit in left]}")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scripts, "resources", SimpleNamespace(files=lambda _package: folder))
            scripts.load.cache_clear()
            yield
    finally:
        scripts.load.cache_clear()
