"""Connections cut, commands held up, scripts forgotten, and a server that is away for moments."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from chaos.redis_injuries import finish, under_load

if TYPE_CHECKING:
    from chaos.arena import Arena


def cut_all(arena: Arena) -> None:
    """Every connection but the test's own."""
    for kind in ("normal", "pubsub"):
        arena.client.client_kill_filter(_type=kind, skipme=True)
    arena.ledger.injure("CLIENT KILL of all connections")


def test_all_connections_cut_at_random(arena: Arena) -> None:
    workers = arena.team(2)

    def cut_several_times() -> None:
        for _ in range(arena.rng.randrange(1, 6)):
            cut_all(arena)
            arena.nap(0.08)

    under_load(arena, arena.size(8, 250), cut_several_times)
    finish(arena, workers)


def test_scripts_forgotten_again_and_again(arena: Arena) -> None:
    workers = arena.team(2)

    def forget() -> None:
        for _ in range(40):
            arena.client.script_flush()
            arena.ledger.injure("SCRIPT FLUSH")
            arena.nap(0.01)
            if arena.rng.random() < 0.1:
                cut_all(arena)

    under_load(arena, arena.size(6, 150), forget)
    finish(arena, workers)


@pytest.mark.parametrize("everything", [False, True], ids=["writes", "everything"])
def test_clients_paused_for_longer_than_the_lease(arena: Arena, everything: bool) -> None:
    """Connections stand and nothing is answered, for longer than workers wait for a reply, and than leases last."""
    arena.settings["redis"] |= {"timeout": "600ms", "connect_timeout": "500ms"}
    arena.settings["lease"] = {"duration": "1s", "renew_every": "200ms", "recover_every": "150ms"}
    workers = arena.team(3)

    def pause() -> None:
        milliseconds = arena.rng.randrange(1100, 2600)
        arena.client.client_pause(milliseconds, all=everything)
        arena.ledger.injure(f"CLIENT PAUSE {'ALL' if everything else 'WRITE'} for longer than the lease")
        time.sleep(milliseconds / 1000)

    for _ in range(arena.size(3, 60)):
        arena.enter([{"sleep": 0.9}] * 4)
        under_load(arena, 1, pause, batch=60)
    finish(arena, workers)


@pytest.mark.parametrize("manner", ["frozen", "killed", "read-only"])
def test_short_outages_at_random_moments(arena: Arena, manner: str) -> None:
    workers = arena.team(2)

    def vanish() -> None:
        for _ in range(4):
            length = arena.rng.uniform(0.05, 0.3)
            if manner == "frozen":
                arena.redis.pause()
                time.sleep(length)
                arena.redis.resume()
            elif manner == "read-only":
                arena.client.replicaof("127.0.0.1", 1)
                time.sleep(length)
                arena.client.replicaof("NO", "ONE")
            else:
                arena.redis.kill()
                time.sleep(length)
                arena.redis.start()
            arena.ledger.injure(f"redis {manner} for 50 to 300 ms")
            arena.nap(0.3)

    under_load(arena, arena.size(3, 150), vanish)
    finish(arena, workers)
