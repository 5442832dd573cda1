"""`kill -9` at random moments: of the daemon, of the task code's process, of both; two workers, and many."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil
from chaos.ledger import Ending
from support.field import children_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

DIED_ALONE = Ending(charged=True)
"""A task that was the only unanswered one when its process died is charged, and must complete nevertheless."""


def kill_child(arena: Arena, worker: WorkerProcess) -> None:
    """SIGKILL the task code's process. It is serial: only the task that it began last may be executed once more."""
    for child in children_of(worker):
        try:
            child.send_signal(signal.SIGSTOP)  # so that what it began last is known
        except psutil.NoSuchProcess:
            continue
        last = [
            line.split()[0] for line in arena.runs_file.read_text().splitlines() if line.split()[1] == str(child.pid)
        ]
        os.kill(child.pid, signal.SIGKILL)
        arena.ledger.injure("kill -9 of the task code's process", last[-1:])


def rampage(arena: Arena, workers: list[WorkerProcess], kills: int, *, children: bool, daemons: bool) -> None:
    """Kill at random, with somebody new in the place of each daemon, until there were so many kills."""
    for _ in range(kills):
        arena.wait_begun(20)
        arena.nap(0.2)
        place = arena.rng.randrange(len(workers))
        doomed = workers[place]
        blows: list[Callable[[], object]] = []
        if children and (not daemons or arena.rng.random() < 0.7):
            blows.append(lambda doomed=doomed: kill_child(arena, doomed))  # type: ignore[misc]  # bound at once
        if daemons and (not blows or arena.rng.random() < 0.7):
            blows.append(lambda doomed=doomed: arena.kill(doomed))  # type: ignore[misc]
        arena.rng.shuffle(blows)
        for blow in blows:
            blow()
        if doomed.process.poll() is not None:
            workers[place] = arena.quick(seed=arena.rng.randrange(2**31))


def blame_nobody(arena: Arena) -> None:
    """Restart killed processes for ever: that they die so often is our doing, not that of the task code."""
    arena.settings["recovery"]["max_restarts"] = 10**6


def finish(arena: Arena, workers: list[WorkerProcess]) -> None:
    """Account for everything; the workers that are left stop in an orderly way."""
    arena.settle(seconds=1800)
    arena.account()
    for worker in workers:
        worker.wait_for_line("ready")  # the last ones may hardly have begun
    assert [worker.stop() for worker in workers] == [0] * len(workers)


def test_daemons_killed_at_random(arena: Arena) -> None:
    arena.enter(arena.short_tasks(arena.size(1_500, 40_000)))
    workers = arena.team(2)
    rampage(arena, workers, arena.size(5, 100), children=False, daemons=True)
    finish(arena, workers)


def test_task_processes_killed_at_random(arena: Arena) -> None:
    blame_nobody(arena)
    arena.enter(arena.short_tasks(arena.size(1_500, 40_000)), DIED_ALONE)
    workers = arena.team(2)
    rampage(arena, workers, arena.size(8, 200), children=True, daemons=False)
    finish(arena, workers)


def test_daemons_and_task_processes_killed_among_many_workers(arena: Arena) -> None:
    blame_nobody(arena)
    arena.enter(arena.short_tasks(arena.size(2_000, 60_000)), DIED_ALONE)
    workers = arena.team(arena.size(4, 10))
    rampage(arena, workers, arena.size(10, 300), children=True, daemons=True)
    finish(arena, workers)


def test_daemons_and_processes_killed_where_every_task_has_a_process_of_its_own(arena: Arena) -> None:
    blame_nobody(arena)
    arena.queues["jobs"]["deployment"]["mode"] = "one_shot"
    arena.settings["worker"]["concurrency"] = 2
    arena.enter(arena.short_tasks(arena.size(120, 3_000)), DIED_ALONE)
    workers = arena.team(2)
    rampage(arena, workers, arena.size(4, 60), children=True, daemons=True)
    finish(arena, workers)


def test_time_from_a_death_to_the_tasks_running_elsewhere(arena: Arena) -> None:
    del arena.settings["lease"]  # as it is when nobody says anything
    arena.settings["worker"]["concurrency"] = 4
    doomed, frozen = arena.team(2)
    ids = arena.enter([{"sleep": 0.2}] * 80)
    arena.wait_begun(12)
    (heir,) = arena.team(1)
    died_at = time.monotonic()
    left = arena.kill(doomed)
    frozen.signal(signal.SIGSTOP)  # as when its host's power is cut: its connections stay open, nothing answers
    for child in children_of(frozen):
        child.send_signal(signal.SIGSTOP)
    stuck = arena.in_hand(frozen)
    arena.ledger.injure("SIGSTOP of the daemon and its process", stuck)
    seen = len(arena.runs_file.read_text().splitlines())

    def taken_over(tasks: set[str]) -> bool:
        again = arena.runs_file.read_text().splitlines()[seen:]
        return tasks <= {line.split()[0] for line in again if line.split()[2] == str(heir.process.pid)}

    for what, tasks in (("killed daemon", left), ("host without power", stuck)):
        assert tasks
        arena.wait_until(lambda tasks=tasks: taken_over(tasks), f"the heir running those of the {what}")  # type: ignore[misc]
        arena.ledger.figures[f"seconds until the tasks of a {what} run elsewhere"] = round(
            time.monotonic() - died_at, 1
        )
    assert max(arena.ledger.figures.values()) <= 20
    arena.kill(frozen, "SIGKILL of the frozen")
    arena.settle()
    assert len(ids) == arena.account().tried
