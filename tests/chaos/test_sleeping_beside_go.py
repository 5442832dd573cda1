"""A worker stands still for longer than its lease, and one of the other kind takes its tasks: ours, and asynq's."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
import redis
from chaos.arena import PREFIX
from chaos.go_side import GoSide, scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

pytestmark = pytest.mark.interop

SLOTS = 8
OURS, GOS = "ours", "go's"


@pytest.fixture
def go(arena: Arena, asynq_program: Path) -> Iterator[GoSide]:
    side = GoSide(arena, asynq_program)
    yield side
    side.close()


class Gates:
    """Files that tasks wait for; a task of one round waits for another file than that of the next."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.round = 0

    def next_round(self) -> None:
        self.round += 1

    def path(self, name: str) -> Path:
        return self._arena.directory / f"gate-{self.round}-{name}"

    def open(self, name: str) -> None:
        self.path(name).touch()

    def task(self, **more: object) -> dict[str, object]:
        """It waits for one gate where we run it, for another where Go does, and says who ran it."""
        ours, theirs = str(self.path(OURS)), str(self.path(GOS))
        return {"until": ours, "go_until": theirs, "say": OURS, "result": json.dumps(GOS), **more}


@pytest.fixture
def gates(arena: Arena) -> Gates:
    return Gates(arena)


def hashes(arena: Arena, ids: Iterable[str]) -> dict[str, Any]:
    """All that Redis holds of these tasks, and where."""
    with redis.Redis(port=arena.redis.port) as client, client.pipeline(transaction=True) as pipe:
        for task_id in ids:
            pipe.hgetall(f"{PREFIX}t:{task_id}")
            for name in ("lease", "retry", "completed"):
                pipe.zscore(PREFIX + name, task_id)
        replies = pipe.execute()
    return {task_id: replies[4 * at : 4 * at + 4] for at, task_id in enumerate(ids)}


def results(arena: Arena, ids: Iterable[str]) -> list[Any]:
    found = [arena.client.hget(f"{PREFIX}t:{task_id}", "result") for task_id in ids]
    return [json.loads(result or "null") for result in found]


def begun_by(arena: Arena, ids: Iterable[str], is_ours: Callable[[int], bool]) -> set[str]:
    """Those of the tasks that a process of this kind has begun."""
    begun = {(line.split()[0], int(line.split()[1])) for line in arena.runs_file.read_text().splitlines()}
    return {task_id for task_id in ids if any(one == task_id and is_ours(pid) for one, pid in begun)}


def wait_in_hand(arena: Arena, worker: WorkerProcess, ids: Iterable[str]) -> None:
    """Until the worker knows that it has these tasks: it has renewed all of them."""
    wanted = set(ids)
    arena.wait_until(lambda: arena.in_hand(worker) == wanted, "all claimed")
    before = scores(arena, "lease")
    arena.wait_until(lambda: all(score > before[one] for one, score in scores(arena, "lease").items()), "all renewed")


def wait_lost(arena: Arena, worker: WorkerProcess, ids: Iterable[str]) -> None:
    """Until the worker has said of each task that its outcome is dropped."""
    wanted = set(ids)

    def said() -> bool:
        return wanted <= {line.get("task_id") for line in worker.lines("lease_lost")}

    arena.wait_until(said, "outcomes dropped", seconds=30)


def test_our_worker_sleeps_and_go_runs_its_tasks(arena: Arena, go: GoSide, gates: Gates) -> None:
    (sleeper,) = arena.team(1)
    for _ in range(arena.size(1, 12)):
        gates.next_round()
        wishes = [arena.rng.choice(["runs", "ends", "fails"]) for _ in range(SLOTS - 3)] + ["runs", "ends", "fails"]
        kinds = {
            "runs": gates.task(),
            "ends": {**gates.task(), "go_until": ""},
            "fails": {**gates.task(), "go_until": "", "fail_once": True},
        }
        ids = arena.enter([kinds[wish] for wish in wishes])
        wish_of = dict(zip(ids, wishes, strict=True))
        wait_in_hand(arena, sleeper, ids)
        sleeper.signal(signal.SIGSTOP)
        arena.ledger.injure("SIGSTOP of our daemon for longer than its lease, Go taking its tasks", ids)

        # Another worker of ours finds the leases over, but has no slot free for the tasks; Go has.
        blockers = arena.enter([{"until": str(gates.path("blocker"))}] * SLOTS)
        (finder,) = arena.team(1)
        arena.wait_until(lambda: arena.in_hand(finder) == set(blockers), "the finder busy")  # noqa: B023 - called at once
        server = go.serve("--retry-delay", "1h", concurrency=SLOTS)
        failing = {task_id for task_id in ids if wish_of[task_id] == "fails"}
        running = {task_id for task_id in ids if wish_of[task_id] == "runs"}
        arena.wait_until(
            lambda: (
                begun_by(arena, ids, go.pids.__contains__) == set(ids)  # noqa: B023 - likewise
                and arena.client.zcard(f"{PREFIX}retry") == len(failing)  # noqa: B023 - likewise
                and go.held() == running  # noqa: B023 - likewise
            ),
            "Go having run, failed and ended tasks",
        )
        go.expect_charges(failing)
        arena.ledger.injure("a failure under Go", failing)

        before = hashes(arena, ids)
        gates.open(OURS)
        sleeper.signal(signal.SIGCONT)
        wait_lost(arena, sleeper, ids)
        after = hashes(arena, ids)
        for task_id in running:  # Go may have renewed what it runs; nobody else may have touched it
            assert float(after[task_id][1]).is_integer()
            assert after[task_id][1] >= before[task_id][1]
            before[task_id][1] = after[task_id][1]
        assert after == before

        gates.open(GOS)
        arena.wait_until(lambda: not go.held(), "Go settling what it runs")
        ended = [task_id for task_id in ids if task_id not in failing]
        assert results(arena, ended) == [GOS] * len(ended)
        go.stop(server, "SIGTERM to the idle Go server")
        gates.open("blocker")
        go.settle()
        assert finder.stop() == 0
        assert results(arena, failing) == [OURS] * len(failing)
    account = go.account()
    assert account.endings == {"completed": len(arena.ledger.endings)}
    assert sleeper.stop() == 0


def test_our_worker_sleeps_and_go_hands_its_tasks_back(arena: Arena, go: GoSide, gates: Gates) -> None:
    (sleeper,) = arena.team(1)
    ids = arena.enter([gates.task()] * SLOTS)
    wait_in_hand(arena, sleeper, ids)
    sleeper.signal(signal.SIGSTOP)
    arena.ledger.injure("SIGSTOP of our daemon for longer than its lease, Go taking its tasks", ids)
    blockers = arena.enter([{"until": str(gates.path("blocker"))}] * SLOTS)
    (finder,) = arena.team(1)
    arena.wait_until(lambda: arena.in_hand(finder) == set(blockers), "the finder busy")
    server = go.serve("--shutdown", "100ms", concurrency=SLOTS)
    arena.wait_until(lambda: begun_by(arena, ids, go.pids.__contains__) == set(ids), "Go running them")
    go.stop(server, "SIGTERM to the Go server with tasks that outlast its shutdown timeout")
    arena.ledger.injure("handed back by Go in the middle", ids)
    assert set(arena.contents().pending) == set(ids)

    gates.open(OURS)
    sleeper.signal(signal.SIGCONT)
    wait_lost(arena, sleeper, ids)  # and it claims them again, with a new token
    arena.wait_settled(SLOTS)
    gates.open("blocker")
    go.settle()
    go.account()
    assert results(arena, ids) == [OURS] * SLOTS
    assert arena.client.get(f"{PREFIX}processed") == str(2 * SLOTS), "an outcome was counted twice"
    assert [worker.stop() for worker in (sleeper, finder)] == [0, 0]


class GoAsleep:
    """The setting of the other way round: Go stands still, and our worker runs what it had in hand."""

    def __init__(self, arena: Arena, go: GoSide, gates: Gates) -> None:
        self.arena, self.go, self.gates = arena, go, gates
        self.server = go.serve("--retry-delay", "1h", concurrency=SLOTS)
        self.ids = arena.enter([gates.task()] * SLOTS)
        arena.wait_until(lambda: begun_by(arena, self.ids, go.pids.__contains__) == set(self.ids), "Go running them")
        self.server.signal(signal.SIGSTOP)
        held = go.left_behind("SIGSTOP of the Go server, its lease and the grace moved back as if they had passed")
        assert held == set(self.ids)
        go.let_leases_pass(held)
        (self.worker,) = arena.team(1)

        def ours() -> bool:
            go.let_delays_pass()
            return arena.in_hand(self.worker) == set(self.ids)

        arena.wait_until(ours, "all in our hands")

    def expect_counters(self, processed: int, failed: int) -> None:
        names = (f"{PREFIX}processed", f"{PREFIX}failed")
        assert self.arena.client.mget(names) == [str(processed), str(failed)], "an outcome was counted twice, or never"

    def close(self) -> None:
        self.go.stop(self.server, "SIGTERM to the idle Go server")
        assert self.worker.stop() == 0


def test_go_sleeps_and_settles_late_what_we_run(arena: Arena, go: GoSide, gates: Gates) -> None:
    """Its own fence lets it: somebody owns the task. Our token is void then, and our outcome is dropped."""
    scene = GoAsleep(arena, go, gates)
    gates.open(GOS)
    scene.server.signal(signal.SIGCONT)
    arena.wait_until(lambda: arena.settled_count() == SLOTS, "Go settling our tasks")
    gates.open(OURS)
    wait_lost(arena, scene.worker, scene.ids)
    go.charges.clear()  # Go wrote the message as it had read it, and so took back what its rules had charged
    go.account()
    assert results(arena, scene.ids) == [GOS] * SLOTS
    scene.expect_counters(processed=2 * SLOTS, failed=SLOTS)  # taken over once, settled once
    assert scene.worker.lines("task_completed") == []
    scene.close()


def test_go_sleeps_and_wakes_when_we_are_done(arena: Arena, go: GoSide, gates: Gates) -> None:
    scene = GoAsleep(arena, go, gates)
    gates.open(OURS)
    arena.wait_until(lambda: arena.settled_count() == SLOTS, "our settling")
    before = hashes(arena, scene.ids)
    assert results(arena, scene.ids) == [OURS] * SLOTS
    gates.open(GOS)
    scene.server.signal(signal.SIGCONT)
    scene.close()  # a Go server that is asked to end waits for what it runs, and tries to settle it
    after = hashes(arena, scene.ids)
    for fields, *_ in (*before.values(), *after.values()):
        fields.pop(b"result")  # asynq writes results without asking whose task it is
    assert after == before
    go.account()
    arena.ledger.figures["results that the late Go server wrote over ours"] = results(arena, scene.ids).count(GOS)
    scene.expect_counters(processed=2 * SLOTS, failed=SLOTS)
    assert scene.worker.lines("lease_lost") == []


def test_go_sleeps_and_renews_late_what_we_run(arena: Arena, go: GoSide, gates: Gates) -> None:
    """Its renewal makes the lease its own again: we let go, and it finishes."""
    scene = GoAsleep(arena, go, gates)
    scene.server.signal(signal.SIGCONT)
    wait_lost(arena, scene.worker, scene.ids)
    assert go.held() == set(scene.ids)
    gates.open(GOS)
    arena.wait_until(lambda: arena.settled_count() == SLOTS, "Go settling its tasks")
    go.charges.clear()  # as above
    gates.open(OURS)
    go.account()
    assert results(arena, scene.ids) == [GOS] * SLOTS
    scene.expect_counters(processed=2 * SLOTS, failed=SLOTS)
    scene.close()
