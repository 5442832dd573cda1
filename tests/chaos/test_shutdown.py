"""SIGTERM in every state: while starting, deploying, working, draining, and while Redis is away."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from support.field import CODE, Field, children_of, is_gone

if TYPE_CHECKING:
    from chaos.arena import Arena
    from support.redis_server import RedisServer
    from support.worker_site import Repository, WorkerProcess


def commit(repository: Repository, field: Field, turn: int) -> None:
    """The same task code as a new commit, so that the next start has something to deploy."""
    repository.commit({"main.py": f"# {turn}\n{CODE.format(runs=str(field.runs_file))}"})


def stop(worker: WorkerProcess) -> str:
    """SIGTERM; it ends in order and leaves no process behind. Returns what it was doing."""
    left = children_of(worker)
    state = state_of(worker)
    worker.signal(signal.SIGTERM)
    code = worker.process.wait(timeout=60)
    # Before Python has installed the handlers, the signal's own effect is the right one: nothing has begun.
    assert code == 0 or (code == -signal.SIGTERM and not worker.lines()), worker.log_text()[-4000:]
    assert [process for process in left if not is_gone(process)] == []
    return state


STAGES = (
    "worker_started",
    "deploy_fetching",
    "deploy_checking_out",
    "environment_building",
    "deploy_finished",
    "ready",
)
"""What a worker says on its way from the start to its work, in order."""


def state_of(worker: WorkerProcess) -> str:
    """The last stage that it told of."""
    at = reached(worker)
    return "nothing was said" if at < 0 else STAGES[at]


def reached(worker: WorkerProcess) -> int:
    """The number of that stage; -1 before the first."""
    said = {line.get("action") for line in worker.lines()}
    return max((at for at, stage in enumerate(STAGES) if stage in said), default=-1)


def began_last(arena: Arena, worker: WorkerProcess) -> list[str]:
    """The task that its serial process was at in the end."""
    lines = [line.split() for line in arena.runs_file.read_text().splitlines()]
    return [task_id for task_id, _, parent in lines if parent == str(worker.process.pid)][-1:]


def let_another_finish(arena: Arena) -> None:
    """One more worker does what is left; then every task is accounted for."""
    (worker,) = arena.team(1)
    arena.settle(seconds=1800)
    arena.account()
    assert worker.stop() == 0


def test_stopped_at_random_moments_of_its_life(arena: Arena) -> None:
    repository = arena.queue("life", {"main.py": CODE.format(runs=str(arena.runs_file))}, sub_queues={"default": 1})
    arena.queues["jobs"]["deployment"]["git_url"] = str(repository.path)
    arena.enter(arena.short_tasks(arena.size(2_000, 40_000)))
    turns = arena.size(10, 150)
    for turn in range(turns):
        commit(repository, arena, turn)
        worker = arena.quick(seed=turn)
        stage = arena.rng.choice(STAGES)
        worker.wait_for(lambda worker=worker, stage=stage: STAGES.index(stage) <= reached(worker), stage)  # type: ignore[misc]  # bound at once
        arena.nap(0.3)
        arena.ledger.injure(f"SIGTERM after {stop(worker)}")
        contents = arena.contents()
        assert (contents.active, contents.lease) == ([], [])
    let_another_finish(arena)


def test_stopped_while_tasks_outlast_the_shutdown_timeout(arena: Arena) -> None:
    arena.settings["worker"] |= {"shutdown_timeout": "300ms", "concurrency": 4}
    arena.enter([{"sleep": arena.rng.choice([0.01, 0.05, 1.2])} for _ in range(arena.size(60, 1_000))])
    turns = arena.size(5, 100)
    for _ in range(turns):
        (worker,) = arena.team(1)
        arena.wait_begun(4)
        arena.nap(0.5)
        stop(worker)
        contents = arena.contents()
        assert (contents.active, contents.lease) == ([], [])
        interrupted = set(began_last(arena, worker)) & set(contents.pending)
        arena.ledger.injure("SIGTERM with a shutdown_timeout shorter than the task", interrupted)
    let_another_finish(arena)


def test_stopped_while_redis_is_away(arena: Arena, own_redis: RedisServer) -> None:
    arena.enter(arena.short_tasks(arena.size(1_500, 20_000)))
    for _ in range(arena.size(4, 60)):
        (worker,) = arena.team(1)
        arena.wait_begun(50)
        own_redis.stop()
        arena.nap(0.5)
        worker.signal(signal.SIGTERM)
        arena.nap(2)  # less than a worker tries to write its last outcomes
        own_redis.start()
        assert worker.process.wait(timeout=60) == 0, worker.log_text()[-4000:]
        arena.ledger.injure("SIGTERM while Redis was away for a moment")
    let_another_finish(arena)


def test_stopped_while_redis_is_away_for_good(arena: Arena, own_redis: RedisServer) -> None:
    arena.enter(arena.short_tasks(arena.size(800, 8_000)))
    for _ in range(arena.size(1, 10)):
        (worker,) = arena.team(1)
        arena.wait_begun(50)
        own_redis.stop()
        time.sleep(0.3)
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(timeout=60) == 0, worker.log_text()[-4000:]
        own_redis.start()
        assert worker.lines("outcomes_left")
        # Their outcomes could be told to nobody: the leases run out, and who takes them over runs them again.
        arena.ledger.injure("SIGTERM while Redis was away for longer than a worker waits", arena.in_hand(worker))
    let_another_finish(arena)
