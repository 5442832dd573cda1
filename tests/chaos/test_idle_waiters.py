"""Idle workers that wait for tasks: dead ones and hanging ones lose none, and each task wakes one of the living."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from chaos.wires import Mischief, Wires, assert_counted_once, finish, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena
    from chaos.wires import Wired
    from support.worker_site import WorkerProcess

PENDING, ACTIVE = "asynq:{jobs.default}:pending", "asynq:{jobs.default}:active"
LONGEST = 30
"""Seconds within which a task that was given to the dead must have run elsewhere; far more than it takes."""


@pytest.fixture
def wires(arena: Arena) -> Iterator[Wires]:
    with Wires(arena) as made:
        yield made


def wait_blocked(arena: Arena, count: int) -> None:
    """Until so many clients block in Redis."""
    arena.wait_until(lambda: arena.client.info("clients")["blocked_clients"] >= count, f"{count} waiting clients")


def time_to_run(arena: Arena, count: int) -> float:
    """Enqueue so many tasks; seconds until all are completed."""
    began = time.monotonic()
    arena.enter([{}] * count)
    arena.settle(seconds=LONGEST)
    return time.monotonic() - began


def strike(arena: Arena, victim: Wired, living: int) -> tuple[WorkerProcess, float, int]:
    """Cut off an idle worker or kill it, without Redis knowing, and give a task to everyone who seems to wait.

    Returns the worker in the victim's place, the seconds until the tasks had run, and how many it had been given.
    """
    wait_blocked(arena, living + 1)
    victim.proxy.freeze(dark=True)
    worker = victim.worker
    dead = arena.rng.random() < 0.5
    if dead:
        arena.kill(worker, "kill -9 of an idle worker whose host is gone")
    else:
        arena.ledger.injure("an idle worker's connections fall silent")
    began = time.monotonic()
    arena.enter([{}] * (living + 1))
    arena.wait_until(lambda: not arena.client.llen(PENDING), "all being given out")
    given = len(arena.in_hand(worker))
    arena.settle(seconds=LONGEST)
    took = time.monotonic() - began
    victim.proxy.thaw()
    if dead:
        worker = arena.quick(seed=arena.rng.randrange(2**31), redis={"addr": victim.proxy.addr})
        worker.wait_for_line("ready")
    return worker, took, given


def test_idle_workers_die_or_fall_silent(arena: Arena, wires: Wires) -> None:
    team = wires.team(3)
    heirs = arena.team(1)
    given, longest = 0, 0.0
    for _ in range(arena.size(3, 60)):
        place = arena.rng.randrange(len(team))
        worker, took, count = strike(arena, team[place], len(team) - 1 + len(heirs))
        team[place] = type(team[place])(worker, team[place].proxy)
        given += count
        longest = max(longest, took if count else 0.0)
    arena.ledger.figures["tasks given to waiters that could not take them"] = given
    arena.ledger.figures["most seconds until these ran elsewhere (leases of 2 s)"] = round(longest, 1)
    finish(arena, [wired.worker for wired in team] + heirs)
    assert given


def hanging_waiter(arena: Arena) -> socket.socket:
    """A client that waits as a worker does, and reads no answer."""
    waiter = socket.create_connection(("127.0.0.1", arena.redis.port))
    words = (b"BLMOVE", PENDING.encode(), ACTIVE.encode(), b"RIGHT", b"LEFT", b"0")
    waiter.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    return waiter


def test_waiters_that_die_before_they_claim(arena: Arena) -> None:
    workers = arena.team(2)
    count = arena.size(25, 250)
    longest = 0.0
    for _ in range(arena.size(2, 20)):
        waiters = [hanging_waiter(arena) for _ in range(count)]
        wait_blocked(arena, count + 2)
        time.sleep(1)  # by now the workers wait anew, behind these
        began = time.monotonic()
        ids = arena.enter([{}] * count)
        arena.wait_until(lambda: not arena.client.llen(PENDING), "all being given out")
        for waiter in waiters:
            waiter.close()
            arena.ledger.injure("death of a waiter between its task and the claim")
        assert set(arena.client.lrange(ACTIVE, 0, -1)) <= set(ids)
        arena.settle(seconds=LONGEST)
        longest = max(longest, time.monotonic() - began)
    arena.ledger.figures["most seconds until these ran elsewhere (sweeps every 0.3 s)"] = round(longest, 1)
    finish(arena, workers)


def test_time_until_what_a_dead_waiter_was_given_runs_elsewhere(arena: Arena, wires: Wires) -> None:
    del arena.settings["lease"]  # as it is when nobody says anything
    (victim,) = wires.team(1)
    heirs = arena.team(1)
    worker, took, given = strike(arena, victim, len(heirs))
    arena.ledger.figures["seconds until a dead waiter's task ran elsewhere, by default"] = round(took, 1)
    finish(arena, [worker, *heirs])
    assert given == 1
    assert took <= 20


def test_each_task_wakes_one_of_many_idle_workers(arena: Arena, wires: Wires) -> None:
    arena.settings["lease"] = {"duration": "60s", "renew_every": "5s", "recover_every": "5s"}  # waits take 5 s then
    count = arena.size(5, 16)
    proxy = wires.proxy()
    watcher = Mischief(arena.rng, (), 0)
    proxy.on_reply = watcher
    team = arena.team(count, redis={"addr": proxy.addr}, worker={"queue": "jobs", "concurrency": 1})
    wait_blocked(arena, count)
    watcher.seen.clear()
    began = time.monotonic()
    tasks = arena.size(30, 800)
    for _ in range(tasks):
        wait_blocked(arena, count - 1)
        arena.enter([{}])
    arena.settle()
    asked = watcher.seen["claim"] + watcher.seen["wait"]
    in_vain = count * (1 + (time.monotonic() - began) / 5)  # waits that ended without a task
    arena.ledger.figures["idle workers"] = count
    arena.ledger.figures["claims and ended waits per task"] = round(asked / tasks, 2)
    tell(arena, {"task": tasks}, "one {} for many idle workers")
    arena.account()
    assert_counted_once(arena)
    assert asked <= 2 * tasks + in_vain
    assert [worker.stop() for worker in team] == [0] * count
