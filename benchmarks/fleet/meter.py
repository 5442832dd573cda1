"""What Redis says about itself, before and after."""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

Figures = dict[str, Any]
"""What a scenario measured, JSON-ready."""
_OWN = ("info", "client|list", "client|setname", "memory|usage")
"""Commands of the measuring program."""


@dataclass(frozen=True)
class Reading:
    """One look at INFO; `at` in monotonic seconds."""

    at: float
    info: dict[str, Any]
    calls: dict[str, int]
    usec: dict[str, int]

    @property
    def cpu(self) -> float:
        """Seconds of processor time of the thread that runs commands."""
        return float(self.info["used_cpu_sys_main_thread"]) + float(self.info["used_cpu_user_main_thread"])


def read(client: redis.Redis) -> Reading:
    """Look now."""
    info = dict(client.info("everything"))
    stats = {name.removeprefix("cmdstat_"): value for name, value in info.items() if name.startswith("cmdstat_")}
    return Reading(
        time.monotonic(),
        info,
        {name: int(value["calls"]) for name, value in stats.items() if name not in _OWN},
        {name: int(value["usec"]) for name, value in stats.items() if name not in _OWN},
    )


@dataclass
class Span:
    """What lies between two readings. Filled when `measured` ends."""

    before: Reading
    after: Reading

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.after.at - self.before.at

    @property
    def cpu(self) -> float:
        """Seconds of processor time of Redis."""
        return self.after.cpu - self.before.cpu

    def count(self, field: str) -> int:
        """The growth of a counter of INFO."""
        return int(self.after.info[field]) - int(self.before.info[field])

    def calls(self) -> dict[str, int]:
        """Executions by command, those inside scripts included, most frequent first."""
        grown = Counter(self.after.calls)
        grown.subtract(self.before.calls)
        return {name: calls for name, calls in grown.most_common() if calls > 0}

    @property
    def commands(self) -> int:
        """Executions of all commands, those inside scripts included."""
        return sum(self.calls().values())


@contextmanager
def measured(client: redis.Redis) -> Iterator[Span]:
    """Measure what happens inside the `with`."""
    before = read(client)
    span = Span(before, before)
    yield span
    span.after = read(client)


def rates(span: Span, workers: int) -> Figures:
    """What a span cost per second, in all and per worker."""
    seconds = span.seconds
    return {
        "workers": workers,
        "seconds": round(seconds, 1),
        "cpu_percent": round(100 * span.cpu / seconds, 2),
        "commands_per_s": round(span.commands / seconds, 1),
        "bytes_in_per_s": round(span.count("total_net_input_bytes") / seconds),
        "bytes_out_per_s": round(span.count("total_net_output_bytes") / seconds),
        "cpu_us_per_s_per_worker": round(1e6 * span.cpu / seconds / workers, 1),
        "commands_per_s_per_worker": round(span.commands / seconds / workers, 2),
        "bytes_in_per_s_per_worker": round(span.count("total_net_input_bytes") / seconds / workers),
        "bytes_out_per_s_per_worker": round(span.count("total_net_output_bytes") / seconds / workers),
        "host_load": round(os.getloadavg()[0], 1),
    }


def connections(client: redis.Redis) -> Figures:
    """Connections of workers by what they do, and the bytes that Redis keeps for them."""
    kinds: Counter[str] = Counter()
    memory: defaultdict[str, int] = defaultdict(int)
    for entry in client.client_list():
        name = str(entry["name"])
        if name.startswith("runqy-worker:"):
            kind = name.removeprefix("runqy-worker:").partition("-")[0]
            kinds[kind] += 1
            memory[kind] += int(entry["tot-mem"])
    return {
        "connections": dict(sorted(kinds.items())),
        "connections_total": kinds.total(),
        "connection_bytes": {kind: round(memory[kind] / kinds[kind]) for kind in sorted(kinds)},
        "connection_bytes_total": sum(memory.values()),
    }


def used_memory(client: redis.Redis) -> int:
    """Bytes that Redis has allocated."""
    return int(client.info("memory")["used_memory"])
