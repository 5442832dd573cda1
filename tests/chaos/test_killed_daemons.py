"""`kill -9` at random moments: of the daemon, of the task code's process, of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.arena import Arena


def test_daemons_killed_at_random(arena: Arena) -> None:
    arena.enter(arena.short_tasks(arena.size(1_500, 40_000)))
    workers = arena.team(2)
    for _ in range(arena.size(5, 60)):
        arena.wait_begun(20)
        arena.nap(0.2)
        doomed = arena.rng.randrange(len(workers))
        arena.kill(workers[doomed])
        workers[doomed] = arena.quick(seed=arena.rng.randrange(2**31))
    arena.settle(seconds=600)
    arena.account()
    assert [worker.stop() for worker in workers] == [0, 0]
