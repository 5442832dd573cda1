"""Redis ended and started again with its append only file, under load, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.redis_injuries import finish, refusals, reload_slowly, under_load

if TYPE_CHECKING:
    from chaos.arena import Arena


def test_redis_restarted_with_its_append_only_file(arena: Arena) -> None:
    workers = arena.team(2)

    def restart() -> None:
        arena.redis.stop()
        arena.nap(0.6)
        arena.redis.start()
        arena.ledger.injure("orderly restart of redis")

    under_load(arena, arena.size(4, 60), restart)
    finish(arena, workers)


def test_redis_killed_and_started_with_its_append_only_file(arena: Arena) -> None:
    workers = arena.team(2)

    def kill() -> None:
        arena.redis.kill()
        arena.nap(0.3)
        arena.redis.start()
        arena.ledger.injure("kill -9 of redis")

    under_load(arena, arena.size(5, 80), kill)
    finish(arena, workers)


def test_redis_takes_longer_to_load_than_leases_last(arena: Arena) -> None:
    """Connections are accepted while it loads, and every command is answered with LOADING."""
    arena.settings["lease"] = {"duration": "1s", "renew_every": "200ms", "recover_every": "150ms"}
    workers = arena.team(2)
    arena.enter(arena.short_tasks(500))
    arena.settle()
    seen = 0

    def load_slowly() -> None:
        nonlocal seen
        reload_slowly(arena, arena.rng.uniform(1.2, 3))
        seen += refusals(arena, "LOADING")
        arena.ledger.injure("kill -9 of redis, which then loads slowly")

    under_load(arena, arena.size(2, 40), load_slowly)
    arena.ledger.figures["commands answered with LOADING"] = seen
    finish(arena, workers)
    assert seen > 0
