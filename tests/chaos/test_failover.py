"""Failover under Sentinel. What a replica confirmed is never lost, and what runs twice was never replicated."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from chaos.failing_over import FailoverArena, last_of, moved_on, seconds_since, witness
from support.sentinel import Sentinels, Strays, wait_for_role, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.redis_server import RedisServer

GUARDED = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "5")
"""A master that has lost its replica takes no writes."""


@pytest.fixture
def sentinels(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sentinels]:
    """A test's parameter says how many Sentinels, and whether a master without a replica takes writes."""
    count, guarded = getattr(request, "param", (1, False))
    args = GUARDED if guarded else ()
    with Sentinels(tmp_path / "redis", *args, count=count, quorum=count // 2 + 1) as sentinels:
        yield sentinels


@pytest.fixture
def failing(request: pytest.FixtureRequest, tmp_path: Path, sentinels: Sentinels) -> Iterator[FailoverArena]:
    arena = FailoverArena(request, tmp_path / "arena", sentinels)
    yield arena
    arena.close()


def begin_round(arena: FailoverArena) -> tuple[RedisServer, RedisServer]:
    """In the middle of work, on a master whose replica is in step. Returns both."""
    wait_until(arena.sentinels.is_settled, "everyone in place", seconds=90)
    arena.wait_confirmed(200)
    arena.wait_begun(50)
    arena.nap(0.3)
    old = arena.redis
    return old, arena.sentinels.other(old)


def end_round(arena: FailoverArena, new: RedisServer, began: float) -> None:
    """The new master is there, and work goes on."""
    arena.sentinels.wait_for_master(new)
    arena.follow()
    figures = arena.ledger.figures
    name = "longest seconds until the next task after a failover"
    begun = arena.begun()
    arena.wait_until(lambda: arena.begun() > begun + 5, "work going on")
    figures[name] = max(figures.get(name, 0), seconds_since(began))


@pytest.mark.slow
@pytest.mark.parametrize("sentinels", [(1, False), (3, False)], indirect=True, ids=["one-sentinel", "three-sentinels"])
def test_master_killed(failing: FailoverArena, tmp_path: Path) -> None:
    workers = failing.team(3)
    failing.enqueuer.start()
    for number in range(failing.size(1, 12)):
        old, new = begin_round(failing)
        began = time.monotonic()
        old.kill()
        kept = last_of(new)
        acknowledged = witness(old, tmp_path / f"witness-{number}")
        failing.excuse_differences("the master killed", acknowledged, kept)
        end_round(failing, new, began)
        old.start()
        failing.sentinels.attach(old, new)
    failing.finish(workers)


@pytest.mark.slow
@pytest.mark.parametrize("sentinels", [(1, True), (3, False)], indirect=True, ids=["guarded", "plain"])
def test_orderly_failover(failing: FailoverArena) -> None:
    """The old master stays up, and takes writes until it is told to stop unless it needs a replica for them."""
    workers = failing.team(3)
    failing.enqueuer.start()
    for _ in range(failing.size(1, 12)):
        old, new = begin_round(failing)
        began = time.monotonic()
        failing.sentinels.fail_over()
        wait_for_role(new, "master")
        wait_until(partial(moved_on, old), "everyone leaving the old master")
        failing.tell("seconds until everyone had left the old master, all together", seconds_since(began))
        strays = Strays(old, new)
        strays.catch_up()
        end_round(failing, new, began)
        wait_for_role(old, "slave")
        strays.stop()
        failing.excuse_strays("an orderly failover", strays)
    failing.finish(workers)


@pytest.mark.slow
@pytest.mark.parametrize("sentinels", [(1, False), (3, False)], indirect=True, ids=["one-sentinel", "three-sentinels"])
def test_master_frozen_and_woken_as_a_replica(failing: FailoverArena) -> None:
    """It wakes as the master that it still thinks it is, and does what lay in its sockets; then it refuses writes."""
    workers = failing.team(3)
    failing.enqueuer.start()
    for _ in range(failing.size(1, 12)):
        old, new = begin_round(failing)
        began = time.monotonic()
        old.pause()
        end_round(failing, new, began)
        failing.nap(2)
        old.resume()
        strays = Strays(old, new)
        failing.nap(1)
        strays.catch_up()
        failing.sentinels.attach(old, new)
        strays.stop()
        failing.excuse_strays("the master frozen, and woken after another took its place", strays)
    failing.finish(workers)
