"""One process of the simulation, which hosts many workers and answers the conductor's questions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.fleet.server import raise_limits
from benchmarks.fleet.tasks import stamped_at
from benchmarks.fleet.worker import Kind, SimulatedWorker
from runqy_worker.domain.events import Silent
from runqy_worker.domain.settlement import Action

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from runqy_worker.domain.events import Notice
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task


@dataclass(frozen=True)
class HostPlan:
    """What one process hosts.

    Attributes:
        parents: The parent queue of each worker.
        spread: Seconds over which the workers are started.
    """

    kind: Kind
    parents: tuple[str, ...]
    spread: float = 5.0


@dataclass
class Report:
    """What happened in one process since its report before.

    Attributes:
        begun: Workers that are at work.
        running: Tasks that run now.
        done: Tasks completed, per worker.
        waits: Seconds from enqueuing to the start, of tasks that carry their time.
        totals: Seconds from enqueuing to the accepted settlement.
        settled_at: Monotonic seconds of those settlements.
        rerun_at: Monotonic seconds at which tasks started that another worker had begun.
        connected_at: Monotonic seconds at which connections of the backends were made.
        waiting_at: Monotonic seconds at which those were made that wait for tasks.
        notices: How often each action was told.
        cpu: Seconds of processor time of this process.
    """

    begun: int = 0
    running: int = 0
    done: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    rerun_at: list[float] = field(default_factory=list)
    connected_at: list[float] = field(default_factory=list)
    waiting_at: list[float] = field(default_factory=list)
    settled_at: list[float] = field(default_factory=list)
    notices: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0


class Seat(Silent):
    """Hears one worker, and notes what the report needs."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.done = 0

    def task_started(self, task: Task) -> None:
        """Note how long it waited, and whether somebody had begun it before."""
        at = stamped_at(task.payload)
        if at:
            self.report.waits.append(time.monotonic() - at)
        if task.reruns:
            self.report.rerun_at.append(time.monotonic())

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Note how long it all took."""
        if accepted and settlement.action is Action.COMPLETE:
            self.done += 1
            at = stamped_at(settlement.task.payload)
            if at:
                self.report.totals.append(time.monotonic() - at)
                self.report.settled_at.append(time.monotonic())

    def notice(self, notice: Notice) -> None:
        """Count it."""
        self.report.notices[notice.action] += 1
        if notice.action == "redis_connected":
            self.report.connected_at.append(time.monotonic())
            if str(notice.fields["connection"]).startswith("wait"):
                self.report.waiting_at.append(time.monotonic())


class Host:
    """The workers of this process. A word that comes down the pipe is answered with a `Report`; its end ends all."""

    def __init__(self, plan: HostPlan, pipe: Connection) -> None:
        self._plan = plan
        self._pipe = pipe
        self._report = Report()
        self._seats = [Seat(self._report) for _ in plan.parents]
        self._workers: list[SimulatedWorker] = []

    async def run(self) -> None:
        """Host them until the conductor hangs up."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pipe.fileno(), self._answer)
        starts = sorted(random.random() * self._plan.spread for _ in self._seats)
        began = loop.time()
        works = []
        for seat, parent, start in zip(self._seats, self._plan.parents, starts, strict=True):
            await asyncio.sleep(max(0.0, began + start - loop.time()))
            worker = SimulatedWorker(self._plan.kind, parent, seat)
            self._workers.append(worker)
            works.append(asyncio.create_task(worker.run()))
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()
        raise RuntimeError("a worker ended by itself")

    def _answer(self) -> None:
        try:
            self._pipe.recv()
        except EOFError:
            os._exit(0)  # nothing of this fleet is worth an orderly end
        report, self._report = self._report, Report()
        for seat in self._seats:
            seat.report = self._report
            report.done.append(seat.done)
            seat.done = 0
        lanes = [worker.lane for worker in self._workers]
        report.begun = sum(lane.ready for lane in lanes)
        report.running = sum(len(lane.running()) for lane in lanes)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        report.cpu = usage.ru_utime + usage.ru_stime
        self._pipe.send(report)


def main(plan: HostPlan, pipe: Connection) -> None:
    """Run a host; the entry point of its process."""
    raise_limits()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Host(plan, pipe).run())
