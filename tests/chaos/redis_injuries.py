"""What scenarios with an injured Redis share: load, an injury, more load, and an account that excuses nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.arena import Arena
    from chaos.ledger import Account
    from support.worker_site import WorkerProcess

PROCESSED = "asynq:{jobs.default}:processed"
BATCH = 150
"""Tasks enqueued before each injury: enough to be in the middle of them when it comes."""


def under_load(arena: Arena, times: int, injure: Callable[[], None], *, batch: int = BATCH) -> None:
    """Inflict the injury so many times, each at a random moment among tasks that run.

    Enters the longest time from the end of an injury until the next task began into the ledger's figures.
    """
    figures = arena.ledger.figures
    name = "longest seconds from the end of an injury to the next task"
    for _ in range(times):
        arena.enter(arena.short_tasks(batch))
        arena.wait_begun(20)
        arena.nap(0.1)
        injure()
        over = time.monotonic()
        if arena.settled_count() < len(arena.ledger.endings):
            arena.wait_begun(1)
            figures[name] = round(max(figures.get(name, 0), time.monotonic() - over), 2)


def finish(arena: Arena, workers: list[WorkerProcess], *, seconds: float = 600) -> Account:
    """Every task was done and counted once, by workers that never ended and never lost a lease."""
    arena.settle(seconds=seconds)
    account = arena.account()
    assert account.duplicates == {}
    assert arena.client.get(PROCESSED) == str(account.tried), "an outcome was counted twice"
    assert [line for worker in workers for line in worker.lines("lease_lost")] == []
    assert [worker.stop() for worker in workers] == [0] * len(workers)
    return account


def reload_slowly(arena: Arena, seconds: float) -> None:
    """SIGKILL, and a start that reads the file for about as long, every command being answered with LOADING."""
    commands = (arena.redis.directory / "appendonlydir").glob("*.incr.aof")
    written = sum(path.read_bytes().count(b"\n*") for path in commands)
    args = arena.redis.args
    arena.redis.kill()
    arena.redis.args = (*args, "--key-load-delay", str(int(seconds * 1e6 / max(1, written))))
    arena.redis.start()
    arena.redis.args = args
    began = time.monotonic()
    wait_loaded(arena)
    arena.client.config_set("key-load-delay", 0)
    figures = arena.ledger.figures
    name = "longest seconds that redis took to load"
    figures[name] = round(max(figures.get(name, 0), time.monotonic() - began), 2)


def wait_loaded(arena: Arena, *, seconds: float = 120) -> None:
    """Until Redis has read its file and answers."""

    def answers() -> bool:
        try:
            return bool(arena.client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    arena.wait_until(answers, "redis having loaded", seconds=seconds)


def refusals(arena: Arena, code: str) -> int:
    """How often Redis answered with this error since it started."""
    stats = arena.client.info("errorstats").get(f"errorstat_{code}", {})
    return int(stats.get("count", 0))
