"""The network between workers and Redis is slow, cuts connections, or lets them fall silent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from chaos.wires import QUICK, RENEW, Mischief, Wires, finish, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena
    from chaos.wires import Wired


@pytest.fixture
def wires(arena: Arena) -> Iterator[Wires]:
    with Wires(arena) as made:
        yield made


def going_on(arena: Arena, until: float, most: int) -> bool:
    """Whether the injuries go on: for a while, and as long as there is work."""
    return time.monotonic() < until and arena.settled_count() < most


def test_network_of_5_to_50_ms_round_trips(arena: Arena, wires: Wires) -> None:
    team = wires.team(2)
    for wired in team:
        wired.proxy.set_latency(0.0025, 0.025)
    arena.ledger.injuries["workers behind 5 to 50 ms of network"] = len(team)
    arena.enter(arena.short_tasks(arena.size(1_000, 20_000)))
    finish(arena, [wired.worker for wired in team])


def test_connections_cut_at_random(arena: Arena, wires: Wires) -> None:
    team = wires.team(2)
    count = arena.size(2_000, 40_000)
    arena.enter(arena.short_tasks(count))
    cuts = {"connections": 0}
    until = time.monotonic() + arena.size(5, 150)
    while going_on(arena, until, count):
        arena.nap(0.2)
        for wired in team:
            cuts["connections"] += wired.proxy.cut(arena.rng.choice([0.2, 0.5, 1.0]))
    tell(arena, cuts, "{} cut, with RST or FIN")
    finish(arena, [wired.worker for wired in team])


def silence(arena: Arena, wired: Wired) -> int:
    """Let some of its connections fall silent for ever, perhaps for a while new ones too."""
    ways = arena.rng.choice([(True, True), (True, False), (False, True)])
    dark = arena.rng.random() < 0.3
    frozen = wired.proxy.freeze(arena.rng.choice([0.2, 0.5, 1.0]), requests=ways[0], replies=ways[1], dark=dark)
    arena.nap(0.6)
    if dark:
        wired.proxy.thaw()  # what was sent long ago arrives now, also from those who gave up
    return frozen


def test_connections_fall_silent_without_being_closed(arena: Arena, wires: Wires) -> None:
    arena.settings["lease"] = {"duration": "10s", "renew_every": "300ms", "recover_every": "300ms"}
    team = wires.team(2, **QUICK)
    count = arena.size(1_500, 40_000)
    arena.enter([{"sleep": arena.rng.choice([0, 0.002, 0.005, 0.02])} for _ in range(count)])
    silenced = {"connections": 0}
    until = time.monotonic() + arena.size(6, 150)
    while going_on(arena, until, count):
        silenced["connections"] += silence(arena, arena.rng.choice(team))
    tell(arena, silenced, "{} that fell silent without being closed")
    finish(arena, [wired.worker for wired in team])


def test_the_connection_that_renews_leases_falls_silent(arena: Arena, wires: Wires) -> None:
    arena.settings["lease"] = {
        "duration": "3s",
        "renew_every": "750ms",
        "recover_every": "500ms",
    }  # redis.timeout is 10 s
    team = wires.team(2)
    rounds = arena.size(2, 20)
    arena.enter([{"sleep": 0.4}] * (20 * rounds))  # eight are in hand, the last for longer than a lease
    silenced = {"connections": 0}
    for _ in range(rounds):
        for wired in team:
            arena.wait_until(lambda wired=wired: wired.proxy.freeze(saying=RENEW), "a renewal")  # type: ignore[misc]
            silenced["connections"] += 1
        time.sleep(4)
    tell(arena, silenced, "{} for renewals that fell silent")
    finish(arena, [wired.worker for wired in team])


def test_answers_come_later_than_anyone_waits(arena: Arena, wires: Wires) -> None:
    arena.settings["lease"] = {"duration": "10s", "renew_every": "200ms", "recover_every": "300ms"}
    kinds = ("claim", "settlement", "release", "renewal")
    mischief = Mischief(arena.rng, kinds, 0.05, seconds=(0.2, 1.0))
    team = wires.team(2, timeout="300ms", connect_timeout="500ms")
    for wired in team:
        wired.proxy.on_reply = mischief
    arena.enter([{"sleep": arena.rng.choice([0, 0.002, 0.005])} for _ in range(arena.size(1_500, 30_000))])
    arena.settle(seconds=1800)
    tell(arena, mischief.done, "answers to a {} delayed beyond the worker's patience")
    finish(arena, [wired.worker for wired in team])


def test_a_worker_is_cut_off_for_longer_than_its_lease(arena: Arena, wires: Wires) -> None:
    (wired,) = wires.team(1, **QUICK)
    (heir,) = arena.team(1)
    rounds = arena.size(3, 40)
    count = rounds * 120
    arena.enter([{"sleep": arena.rng.choice([0.005, 0.02, 0.05])} for _ in range(count)])
    taken_over: set[str] = set()
    for _ in range(rounds):
        arena.wait_begun(20)
        if arena.settled_count() >= count:
            break
        wired.proxy.freeze(dark=True)
        time.sleep(0.1)  # what Redis had received already, it has executed now
        held = arena.in_hand(wired.worker)
        arena.ledger.injure("a worker cut off from redis for longer than its lease", held)
        taken_over |= held
        arena.wait_until(lambda held=held: not held & arena.in_hand(wired.worker), "the heir taking over")  # type: ignore[misc]
        arena.nap(0.5)
        wired.proxy.thaw()  # what it sent meanwhile arrives now: claims, renewals and outcomes of long ago
    arena.settle(seconds=1800)
    entered = list(arena.ledger.endings)
    recovered = {info.id for info in arena.infos(entered) if info.recovered}
    assert recovered >= taken_over
    dropped = wired.worker.lines("lease_lost")
    arena.ledger.figures["outcomes and leases that the worker cut off had to drop"] = len(dropped)
    assert {line["task_id"] for line in dropped} <= recovered
    assert heir.lines("lease_lost") == []
    finish(arena, [wired.worker, heir])
