"""A Redis that has no memory left and evicts nothing, and gets some back later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from chaos.redis_injuries import finish

from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from chaos.arena import Arena

BALLAST = "ballast"
CHUNK = 64 * 1024


def exhaust(arena: Arena) -> None:
    """Something else takes all the memory that is allowed."""
    used = arena.client.info("memory")["used_memory"]
    arena.client.config_set("maxmemory", used + 16 * CHUNK)
    while arena.client.info("memory")["used_memory"] <= used + 16 * CHUNK:
        arena.client.config_set("maxmemory", 0)
        arena.client.append(BALLAST, "x" * CHUNK)
        arena.client.config_set("maxmemory", used + 16 * CHUNK)
    arena.ledger.injure("redis out of memory")


def relieve(arena: Arena) -> None:
    """The memory is free again."""
    arena.client.delete(BALLAST)
    arena.client.config_set("maxmemory", 0)


def test_redis_out_of_memory_again_and_again(arena: Arena) -> None:
    """What is enqueued is worked off meanwhile; no more can be enqueued until there is memory."""
    workers = arena.team(2)
    settled = refused = 0
    for number in range(arena.size(3, 60)):
        arena.enter(arena.short_tasks(150))
        arena.enter([{"sleep": 0.3, "say": "x" * 2000}] * 4)
        arena.wait_begun(20)
        arena.nap(0.1)
        exhaust(arena)
        before = arena.settled_count()
        length = 2.5 if number == 0 else arena.rng.uniform(0.1, 3)
        until = time.monotonic() + length
        while time.monotonic() < until:
            with pytest.raises(BackendUnavailableError, match="OOM"):
                arena.put([{}], prefix=f"refused-{number}-")
            refused += 1
            time.sleep(0.1)
        settled += arena.settled_count() - before
        relieve(arena)
    arena.ledger.figures["tasks settled without memory"] = settled
    arena.ledger.figures["enqueues refused"] = refused
    finish(arena, workers)
    assert settled > 0


def test_a_daemon_killed_while_redis_is_out_of_memory(arena: Arena) -> None:
    """The others take its tasks over although there is no memory, and say that they can't wait as usual."""
    for _ in range(arena.size(1, 10)):
        workers = arena.team(2)
        arena.enter([{"sleep": 0.4}] * 6)
        arena.wait_until(lambda: len(arena.contents().lease) == 6, "all in hand")
        exhaust(arena)
        arena.nap(0.3)
        arena.kill(workers[0], "kill -9 of the daemon while redis is out of memory")
        arena.settle(seconds=30)
        workers[1].wait_for_line("memory_full")
        relieve(arena)
        workers[1].wait_for_line("memory_free")
        assert workers[1].stop() == 0
    arena.account()
