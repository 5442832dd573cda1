"""Redis away for about as long as leases last, and for much longer: nobody re-runs what its owner still holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from chaos.redis_injuries import finish, reload_slowly

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.arena import Arena

LEASE = 1.0
HOLDERS = 4
CONCURRENCY = 2


def stopped(arena: Arena, seconds: float) -> None:
    """Nobody listens on its port."""
    arena.redis.stop()
    time.sleep(seconds)
    arena.redis.start()


def frozen(arena: Arena, seconds: float) -> None:
    """Connections stand, and new ones are accepted by the kernel; nothing answers."""
    arena.redis.pause()
    time.sleep(seconds)
    arena.redis.resume()


def loading(arena: Arena, seconds: float) -> None:
    """It answers, but reads its file for as long."""
    reload_slowly(arena, seconds)


def read_only(arena: Arena, seconds: float) -> None:
    """It answers reads, and refuses writes with READONLY: a master that was demoted, and is promoted again."""
    arena.client.replicaof("127.0.0.1", 1)
    time.sleep(seconds)
    arena.client.replicaof("NO", "ONE")


def without_master(arena: Arena, seconds: float) -> None:
    """It refuses everything with MASTERDOWN."""
    arena.client.config_set("replica-serve-stale-data", "no")
    read_only(arena, seconds)


@pytest.mark.parametrize("manner", [stopped, frozen, loading, read_only, without_master], ids=lambda it: it.__name__)
def test_redis_away_for_longer_than_every_lease(arena: Arena, manner: Callable[[Arena, float], None]) -> None:
    """Each worker has tasks that run throughout, tasks that end meanwhile, and tasks that wait."""
    arena.settings["redis"] |= {"timeout": "500ms", "connect_timeout": "400ms"}
    arena.settings["lease"] = {"duration": f"{LEASE}s", "renew_every": "200ms", "recover_every": "150ms"}
    workers = arena.team(HOLDERS, worker={"concurrency": CONCURRENCY})
    for number in range(arena.size(2, 40)):
        away = LEASE * (2.2 if number == 0 else arena.rng.uniform(0.7, 2.6))
        arena.enter([{"sleep": arena.rng.choice([0.1, away / 2, away + 0.5])} for _ in range(2 * HOLDERS)])
        arena.enter(arena.short_tasks(50))
        arena.wait_begun(HOLDERS)
        arena.nap(0.3)
        manner(arena, away)
        arena.ledger.injure(f"redis {manner.__name__.replace('_', ' ')} for 0.7 to 2.6 leases")
        arena.settle()
    finish(arena, workers)
