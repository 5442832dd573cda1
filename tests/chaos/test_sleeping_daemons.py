"""SIGSTOP for longer than the lease, then SIGCONT: the woken worker must touch nothing that is no longer its own."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

LEASE = 0.8


def send_to_sleep(arena: Arena, sleeper: WorkerProcess, others: list[WorkerProcess]) -> None:
    """Stop it in the middle of its work, until the others have taken over all that it held."""
    arena.wait_begun(20)
    arena.nap(0.1)
    sleeper.signal(signal.SIGSTOP)
    held = arena.in_hand(sleeper)
    arena.ledger.injure("SIGSTOP of a daemon for longer than its lease", held)
    arena.wait_until(lambda: not held & set(arena.in_hand(sleeper)), "the others taking over")
    arena.nap(0.3)
    sleeper.signal(signal.SIGCONT)
    assert all(worker.process.poll() is None for worker in (sleeper, *others))


def test_daemons_sleep_for_longer_than_their_lease(arena: Arena) -> None:
    arena.settings["lease"] = {"duration": f"{LEASE}s", "renew_every": "200ms", "recover_every": "150ms"}
    count = arena.size(3_000, 60_000)
    arena.enter([{"sleep": arena.rng.choice([0.002, 0.005, 0.02])} for _ in range(count)])
    workers = arena.team(3)
    for _ in range(arena.size(4, 80)):
        sleeper = arena.rng.choice(workers)
        send_to_sleep(arena, sleeper, [worker for worker in workers if worker is not sleeper])
    arena.settle(seconds=1800)
    arena.account()
    assert arena.client.get("asynq:{jobs.default}:processed") == str(count), "an outcome was counted twice"
    assert [worker.stop() for worker in workers] == [0, 0, 0]


def test_everyone_sleeps_and_nobody_takes_over(arena: Arena) -> None:
    arena.settings["lease"] = {"duration": f"{LEASE}s", "renew_every": "200ms", "recover_every": "150ms"}
    arena.enter([{"sleep": arena.rng.choice([0.005, 0.05])} for _ in range(arena.size(400, 10_000))])
    workers = arena.team(2)
    for _ in range(arena.size(2, 40)):
        arena.wait_begun(20)
        for worker in workers:
            worker.signal(signal.SIGSTOP)
        time.sleep(2 * LEASE)
        for worker in workers:
            worker.signal(signal.SIGCONT)
        arena.ledger.injure("SIGSTOP of all daemons at once for two leases")
    arena.settle(seconds=1800)
    arena.account()
    assert [worker.stop() for worker in workers] == [0, 0]
