"""The processes that host the fleet's workers."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Self

from benchmarks.fleet.host import HostPlan, Report, main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from benchmarks.fleet.worker import Kind

_LONGEST_ANSWER = 60.0


class Crew:
    """Starts on entry; killed on exit.

    Args:
        plans: One process each.
    """

    def __init__(self, plans: Sequence[HostPlan]) -> None:
        self._plans = plans
        self._members: list[tuple[SpawnProcess, Connection]] = []
        self.size = sum(len(plan.parents) for plan in plans)

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        for plan in self._plans:
            ours, theirs = context.Pipe()
            process = context.Process(target=main, args=(plan, theirs), daemon=True)
            process.start()
            theirs.close()
            self._members.append((process, ours))
        return self

    def __exit__(self, *_exc: object) -> None:
        while self._members:
            self.kill(0)

    def kill(self, number: int) -> None:
        """End one process, and all its workers, at once."""
        process, pipe = self._members.pop(number)
        process.kill()
        process.join()
        pipe.close()

    def reports(self) -> list[Report]:
        """What happened since this was last called, by process."""
        for _process, pipe in self._members:
            pipe.send("report")
        return [self._receive(process, pipe) for process, pipe in self._members]

    def total(self) -> Report:
        """The same as one report."""
        whole = Report()
        for report in self.reports():
            whole.begun += report.begun
            whole.running += report.running
            whole.cpu += report.cpu
            whole.done += report.done
            whole.waits += report.waits
            whole.totals += report.totals
            whole.rerun_at += report.rerun_at
            whole.connected_at += report.connected_at
            whole.waiting_at += report.waiting_at
            whole.settled_at += report.settled_at
            whole.notices += report.notices
        return whole

    def until(self, holds: Callable[[Report], bool], limit: float = 120.0) -> Report:
        """Ask until `holds` of a report. Raises TimeoutError."""
        deadline = time.monotonic() + limit
        while True:
            report = self.total()
            if holds(report):
                return report
            if time.monotonic() > deadline:
                raise TimeoutError(f"not reached within {limit:g} s: {report.begun} begun, {report.running} running")
            time.sleep(0.2)

    def ready(self) -> None:
        """Until every worker is at work."""
        self.until(lambda report: report.begun == self.size)

    @staticmethod
    def _receive(process: SpawnProcess, pipe: Connection) -> Report:
        if not pipe.poll(_LONGEST_ANSWER):
            raise TimeoutError(f"process {process.pid} does not answer")
        report: Report = pipe.recv()
        return report


def crew(kind: Kind, workers: int, *, processes: int = 4, parents: int = 1, spread: float = 5.0) -> Crew:
    """Workers over some processes, and over some parent queues: `bench`, or `bench0` and so on."""
    names = [f"bench{number % parents}" if parents > 1 else "bench" for number in range(workers)]
    processes = min(processes, workers)
    return Crew([HostPlan(kind, tuple(names[at::processes]), spread) for at in range(processes)])
