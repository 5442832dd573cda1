"""Hosts' clocks that are minutes apart and jump: nobody's lease is taken for that, and nothing ends before its time."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from chaos.arena import PREFIX
from chaos.go_side import GoSide, scores
from chaos.ledger import Ending
from chaos.skewing import WallClock, build_library
from support.asynq_go import build_skewed
from support.field import QUEUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

MINUTES = 60
FAR = 7 * MINUTES
"""Far beyond what asynq allows for."""
RETRY_DELAY = 120
RETENTION = 600
LIMITS = {"lifecycle": {"pending_timeout": "2m"}}


@pytest.fixture(scope="module")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("clock") / "wall_clock.so")


@pytest.fixture(scope="module")
def skewed_asynq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_skewed(tmp_path_factory.mktemp("skewed") / "asynq")


@pytest.fixture
def make_clock(arena: Arena, clock_library: Path) -> Callable[[int], WallClock]:
    """A clock that is so many seconds ahead, for a process that is linked with libc."""
    made = iter(range(100))
    return lambda ahead: WallClock(arena.directory / f"clock-{next(made)}", clock_library, ahead)


@pytest.fixture
def go(arena: Arena, skewed_asynq: Path) -> Iterator[GoSide]:
    side = GoSide(arena, skewed_asynq)
    yield side
    side.close()


def team(arena: Arena, clocks: list[WallClock]) -> list[WorkerProcess]:
    """One worker of ours per clock."""
    workers = []
    for clock in clocks:
        with clock.worn():
            workers.append(arena.quick(retry_delay=RETRY_DELAY, seed=arena.rng.randrange(2**31), **LIMITS))
    for worker in workers:
        worker.wait_for_line("ready")
    return workers


def enter_timed_tasks(arena: Arena, retention: int = RETENTION) -> list[str]:
    """Tasks with every kind of time limit, some longer than a lease. Returns those that fail at first."""
    now = time.time()
    some = arena.size(60, 2_000)
    arena.enter([{"sleep": 0.01}] * some, retention=retention)
    arena.enter([{"sleep": 3}] * 2, retention=retention)
    arena.enter([{"sleep": 0.01}] * some, retention=retention, deadline=now + 2 * MINUTES)
    arena.enter([{"sleep": 0.01}] * some, retention=retention, timeout=60)
    failing = arena.enter([{"fail_once": True}] * 20, Ending(charged=True), retention=retention)
    arena.ledger.injure("a first failure", failing)
    return failing


def assert_in_time(arena: Arena, name: str, seconds: float) -> None:
    """All in this set are due after so many seconds from now by the server's clock, give or take what the test took."""
    server, micros = arena.client.time()
    due = [score - server - micros / 1e6 for score in scores(arena, name).values()]
    assert due
    assert min(due) > seconds - 60
    assert max(due) < seconds + 2


def let_all_come(arena: Arena) -> None:
    """Move what is scheduled or waits for its retry to now, by the server's clock."""
    now, _ = arena.client.time()
    for name in ("scheduled", "retry"):
        for task_id in arena.client.zrange(PREFIX + name, 0, -1):
            arena.client.zadd(PREFIX + name, {str(task_id): now}, xx=True)


def check_timed_tasks(arena: Arena, failing: list[str]) -> None:
    """Wait until all is done but the retries; check what was written about time; let them come too."""
    arena.wait_settled(len(arena.ledger.endings) - len(failing), seconds=300)
    arena.wait_until(lambda: arena.begun() >= len(arena.ledger.endings) and not arena.contents().active, "all begun")
    assert sorted(arena.contents().retry) == sorted(failing), "retried before its time"
    assert_in_time(arena, "retry", RETRY_DELAY)
    assert_in_time(arena, "completed", RETENTION)
    let_all_come(arena)
    arena.settle()
    arena.account()


def enqueue_for_later(arena: Arena, clock: WallClock, delay: int) -> str:
    """With our command, on a host that goes by this clock."""
    command = (sys.executable, "-m", "runqy_worker", "enqueue", QUEUE, "--payload", "{}")
    with clock.worn():
        done = subprocess.run(
            [*command, "--delay", f"{delay}s", "--redis", arena.redis.addr], capture_output=True, text=True, check=True
        )
    task_id = done.stdout.strip()
    arena.ledger.enter([task_id])
    return task_id


def test_hosts_are_minutes_apart(arena: Arena, make_clock: Callable[[int], WallClock]) -> None:
    workers = team(arena, [make_clock(FAR), make_clock(-FAR)])
    arena.ledger.injure("a host's clock minutes ahead")
    arena.ledger.injure("a host's clock minutes behind")
    check_timed_tasks(arena, enter_timed_tasks(arena))
    for ahead in (FAR, -FAR):
        enqueue_for_later(arena, make_clock(ahead), RETRY_DELAY)
    assert_in_time(arena, "scheduled", RETRY_DELAY)
    let_all_come(arena)
    arena.settle()
    arena.account()
    assert [worker.stop() for worker in workers] == [0, 0]


def test_the_clock_of_redis_is_minutes_off(arena: Arena, make_clock: Callable[[int], WallClock]) -> None:
    clock = make_clock(-FAR)
    arena.redis.stop()
    with clock.worn():
        arena.redis.start()
    workers = team(arena, [make_clock(0), make_clock(0)])
    arena.ledger.injure("the clock of Redis minutes behind")
    check_timed_tasks(arena, enter_timed_tasks(arena))
    assert [worker.stop() for worker in workers] == [0, 0]


def test_the_clock_of_redis_jumps_by_minutes(arena: Arena, make_clock: Callable[[int], WallClock]) -> None:
    clock = make_clock(0)
    arena.redis.stop()
    with clock.worn():
        arena.redis.start()
    workers = [arena.quick(seed=arena.rng.randrange(2**31)) for _ in range(2)]
    for worker in workers:
        worker.wait_for_line("ready")
    enter_timed_tasks(arena, retention=24 * 60 * MINUTES)  # a jump forward ends what is kept for less
    for _ in range(arena.size(4, 40)):
        time.sleep(0.7)  # long enough for everyone to see where the clock is
        arena.nap(0.5)
        before = clock.ahead
        clock.set(arena.rng.randrange(-FAR, FAR))
        arena.ledger.injure(f"the clock of Redis jumps {'forward' if clock.ahead > before else 'back'} by minutes")

    def settled() -> bool:
        let_all_come(arena)
        return arena.settled_count() == len(arena.ledger.endings)

    arena.wait_until(settled, "every task settled", seconds=300)
    arena.account()
    assert [worker.stop() for worker in workers] == [0, 0]


def hold(arena: Arena, ids: list[str], held: Callable[[], set[str]], seconds: float) -> None:
    """See that these tasks stay in the hands that they are in."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert held() == set(ids), arena.logs()
        time.sleep(0.1)


@pytest.mark.interop
def test_a_go_worker_works_beside_a_host_whose_clock_is_minutes_ahead(
    arena: Arena, go: GoSide, make_clock: Callable[[int], WallClock]
) -> None:
    gate = arena.directory / "gate"
    server = go.serve()
    ids = arena.enter([{"go_until": str(gate)}] * 4)
    arena.wait_until(lambda: len(go.held()) == 4, "Go running them")
    workers = team(arena, [make_clock(FAR)])
    arena.ledger.injure("a host's clock minutes ahead")
    others = arena.enter(arena.short_tasks(200))
    hold(arena, ids, go.held, 8)
    arena.wait_settled(len(others))
    gate.touch()
    arena.settle()
    go.account()
    go.stop(server, "orderly end")
    assert [worker.stop() for worker in workers] == [0]


@pytest.mark.interop
def test_a_go_worker_whose_clock_is_minutes_behind(arena: Arena, go: GoSide) -> None:
    """All its leases look as if they had run out long ago; while it lives and renews them, they are its own."""
    lease = 6.5  # longer than the 5 s after which asynq renews
    arena.settings["lease"] = {"duration": f"{lease}s", "renew_every": "1s", "recover_every": "500ms"}
    gate = arena.directory / "gate"
    clock = WallClock(arena.directory / "go-clock", None, -FAR)
    server = go.serve(environ=clock.environ)
    arena.ledger.injure("a Go worker's clock minutes behind")
    ids = arena.enter([{"go_until": str(gate)}] * 4)
    arena.wait_until(lambda: len(go.held()) == 4, "Go running them")
    assert max(scores(arena, "lease").values()) < arena.client.time()[0] - 5 * MINUTES
    (worker,) = team(arena, [WallClock(arena.directory / "true-clock", None)])
    hold(arena, ids, go.held, 3 * lease)
    gate.touch()
    arena.settle()

    more = arena.enter([{"go_until": str(gate) + "-shut", "sleep": 0.01}] * 40)
    arena.wait_until(lambda: len(go.held()) == 4, "Go running some of them")
    began = time.monotonic()
    held = go.kill(server)
    arena.wait_until(lambda: not go.held(), "what it left behind taken over", seconds=60)
    took = round(time.monotonic() - began, 1)
    arena.ledger.figures["seconds until a killed Go worker's tasks were taken over"] = took
    assert held <= set(more)
    go.settle()
    go.account()
    assert worker.stop() == 0


@pytest.mark.interop
def test_a_go_worker_whose_clock_is_minutes_ahead(arena: Arena, go: GoSide) -> None:
    """It takes for lapsed what others run, ours and its own kind's: asynq believes its own clock. Nothing is lost."""
    gate = arena.directory / "gate"
    gated = {"until": str(gate), "go_until": "", "say": "ours"}
    (worker,) = arena.team(1)
    ids = arena.enter([gated] * 8)
    arena.wait_until(lambda: arena.in_hand(worker) == set(ids), "all claimed")
    what = "a Go worker's clock minutes ahead, taking tasks that others run"

    def take(ids: list[str]) -> None:
        clock = WallClock(arena.directory / f"go-clock-{len(arena.ledger.endings)}", None, FAR)
        ahead = go.serve(environ=clock.environ)
        arena.ledger.injure(what, ids)
        go.expect_charges(ids)
        arena.wait_settled(len(arena.ledger.endings))
        go.stop(ahead, "orderly end")

    take(ids)
    gate.touch()
    arena.wait_until(lambda: len(worker.lines("lease_lost")) == 8, "our outcomes dropped")
    assert worker.stop() == 0

    shut = arena.directory / "shut"
    true_server = go.serve(concurrency=8)
    its = arena.enter([{"go_until_first": str(shut)}] * 8)
    arena.wait_until(lambda: go.held() == set(its), "the other Go worker running them")
    take(its)
    shut.touch()
    go.stop(true_server, "orderly end")
    go.account()


def test_clocks_of_hosts_jump_by_minutes(arena: Arena, make_clock: Callable[[int], WallClock]) -> None:
    clocks = [make_clock(0), make_clock(0)]
    workers = team(arena, clocks)
    failing = enter_timed_tasks(arena)
    for _ in range(arena.size(8, 100)):
        arena.nap(0.3)
        clock = arena.rng.choice(clocks)
        before = clock.ahead
        clock.set(arena.rng.randrange(-FAR, FAR))
        arena.ledger.injure(f"a host's clock jumps {'forward' if clock.ahead > before else 'back'} by minutes")
    check_timed_tasks(arena, failing)
    assert [worker.stop() for worker in workers] == [0, 0]
