"""Our workers and the real asynq library's on the same queue, under load, injured in turn."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from chaos.arena import PREFIX
from chaos.go_side import GoServer, GoSide
from chaos.inspecting import GoInspector, Meddling, OurInspector, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

pytestmark = pytest.mark.interop


@pytest.fixture
def go(arena: Arena, asynq_program: Path) -> Iterator[GoSide]:
    side = GoSide(arena, asynq_program)
    yield side
    side.close()


class Fleet:
    """Some workers of ours and one asynq server; each method injures one member and puts another in its place."""

    def __init__(self, arena: Arena, go: GoSide, workers: int = 2) -> None:
        self.arena = arena
        self.go = go
        self.server = go.serve()
        self.ours = arena.team(workers)
        self.waits_really = arena.long

    def pick(self) -> int:
        return self.arena.rng.randrange(len(self.ours))

    def replace(self, at: int) -> None:
        """Only a fleet that has another member of ours loses one."""
        self.ours[at] = self.arena.quick(seed=self.arena.rng.randrange(2**31))
        self.ours[at].wait_for_line("ready")

    def kill_ours(self) -> None:
        at = self.pick()
        self.arena.kill(self.ours[at])
        self.replace(at)

    def stop_ours(self) -> None:
        at = self.pick()
        assert self.ours[at].stop() == 0
        self.arena.ledger.injure("SIGTERM to the daemon")
        self.replace(at)

    def doze(self, member: WorkerProcess | GoServer, what: str) -> None:
        """Stand still for less than a lease."""
        member.signal(signal.SIGSTOP)
        self.arena.nap(0.5)
        member.signal(signal.SIGCONT)
        self.arena.ledger.injure(what)

    def doze_ours(self) -> None:
        self.doze(self.ours[self.pick()], "SIGSTOP of the daemon for less than its lease")

    def doze_go(self) -> None:
        self.doze(self.server, "SIGSTOP of the Go server for less than its lease")

    def kill_go(self) -> None:
        """Its leases are moved back, but once in the long form they are waited for."""
        self.arena.wait_until(
            lambda: self.go.held() or not self.arena.client.llen(f"{PREFIX}pending"), "a task in the hands of Go"
        )
        held = self.go.kill(self.server)
        if held and self.waits_really:
            self.waits_really = False
            began = time.monotonic()
            self.arena.wait_until(lambda: not held & self.go.held(), "what Go left behind taken over", seconds=120)
            self.arena.ledger.figures["seconds until a killed Go server's tasks were taken over"] = round(
                time.monotonic() - began, 1
            )
        else:
            self.go.let_leases_pass(held)
        self.server = self.go.serve()

    def stop_go(self) -> None:
        self.go.stop(self.server)
        self.server = self.go.serve()

    def stop_cut_go(self) -> None:
        self.go.stop_with_gaps(self.server)
        self.server = self.go.serve()

    def cut(self) -> None:
        """CLIENT KILL for about a third of all workers' connections. Ours excuse nothing by that."""
        ports = self.server.ports()
        for client in self.arena.client.client_list():
            ours = client["name"].startswith("runqy-worker:") and client["name"] != "runqy-worker:client"
            theirs = int(client["addr"].rsplit(":", 1)[1]) in ports
            if (ours or theirs) and self.arena.rng.random() < 0.3:
                self.arena.client.client_kill_filter(_id=client["id"])
                self.arena.ledger.injure(f"CLIENT KILL of a connection of {'ours' if ours else 'Go'}")

    def injuries(self) -> list[Callable[[], None]]:
        return [self.kill_go, self.kill_ours, self.stop_go, self.stop_ours, self.doze_go, self.doze_ours]

    def close(self) -> None:
        """Stop everyone in good order."""
        self.go.stop(self.server, "orderly end")
        self.stop_all_ours()

    def stop_all_ours(self) -> None:
        assert [worker.stop() for worker in self.ours] == [0] * len(self.ours)


def medium_tasks(arena: Arena, count: int) -> list[dict[str, float]]:
    """Tasks that a Go server, which runs several at a time, does not finish in a moment."""
    return [{"sleep": arena.rng.choice([0, 0.005, 0.01, 0.02, 0.05])} for _ in range(count)]


def test_ours_and_go_workers_killed_in_turn(arena: Arena, go: GoSide) -> None:
    fleet = Fleet(arena, go)
    arena.enter(medium_tasks(arena, arena.size(2_500, 40_000)))
    for _ in range(arena.size(1, 15)):
        for injure in arena.rng.sample(fleet.injuries(), 6):
            arena.wait_begun(20)
            arena.nap(0.2)
            injure()
    go.settle(seconds=900)
    go.account()
    fleet.close()


def test_everything_at_once(arena: Arena, go: GoSide) -> None:
    fleet = Fleet(arena, go)
    with Meddling(arena, OurInspector(arena.redis.addr), GoInspector(go.asynq)) as meddling:
        for _ in range(arena.size(1, 40)):
            injuries = [fleet.kill_go, fleet.kill_ours, fleet.stop_ours, fleet.doze_go, fleet.doze_ours, fleet.cut]
            for injure in [*arena.rng.sample(injuries, len(injuries)), fleet.cut, fleet.stop_cut_go]:
                stream(arena, 90)
                meddling.meddle(10)
                if arena.rng.random() < 0.3:
                    meddling.pause(arena.rng.uniform(0.1, 0.4))
                arena.nap(0.2)
                injure()
            meddling.let_time_come()
        meddling.settle(seconds=900)
        meddling.enter_results()
        arena.account()
    go.stop_with_gaps(fleet.server)
    fleet.stop_all_ours()
