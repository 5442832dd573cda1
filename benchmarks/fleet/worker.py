"""One worker of the fleet: wired as the daemon wires it, from its own parts, but for the processes of task code."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fleet.stand_in import StandIn
from runqy_worker.app.beats import Beats
from runqy_worker.app.context import Context
from runqy_worker.app.identity import make_worker_id
from runqy_worker.app.lane import Lane
from runqy_worker.app.lane_releases import LaneReleases
from runqy_worker.config.model import Config, DeploymentConfig, RedisConfig, WorkerConfig
from runqy_worker.deployment.answer import DeploymentSpec, QueueAnswer, RedisAnswer, Registration
from runqy_worker.domain.clock import SharedClock, SystemClock
from runqy_worker.domain.events import Fanout
from runqy_worker.engine.retrying import asynq_retry_delay
from runqy_worker.telemetry.counts import Counts
from runqy_worker.telemetry.task_log import TaskLog

if TYPE_CHECKING:
    from runqy_worker.domain.events import Listener
    from runqy_worker.executors.factory import SwitchableExecutor


@dataclass(frozen=True)
class Kind:
    """What all workers of a process have in common.

    Attributes:
        addr: Redis.
        directory: For state files, if anything writes some.
        sub_queues: How many sub-queues of its parent queue each worker serves.
        concurrency: Tasks at once.
        task_seconds: How long a task takes.
    """

    addr: str
    directory: str
    sub_queues: int = 1
    concurrency: int = 1
    task_seconds: float = 0.05


def queue_name(parent: str, number: int) -> str:
    """The name of a sub-queue; the first is the default one."""
    return f"{parent}.default" if number == 0 else f"{parent}.sub{number}"


class LocalAnswer:
    """Answers registrations without a server."""

    def __init__(self, kind: Kind, parent: str) -> None:
        served = tuple(QueueAnswer(queue_name(parent, number)) for number in range(kind.sub_queues))
        spec = DeploymentSpec(git_url="file:///nowhere", startup_cmd="true")
        self._registration = Registration(RedisAnswer(kind.addr), QueueAnswer(parent), served, spec)

    async def register(self, queue: str) -> Registration:  # noqa: ARG002 - the port's signature
        """The answer."""
        return self._registration

    async def once(self, queue: str) -> Registration:  # noqa: ARG002 - the port's signature
        """The answer."""
        return self._registration


class SimulatedReleases(LaneReleases):
    """Deploys nothing and starts no process: a stand-in works in its place."""

    stand_in: StandIn

    async def start(self, registration: Registration) -> SwitchableExecutor:  # noqa: ARG002 - as its base has it
        """Only the stand-in."""
        await self.stand_in.start()
        self.executor = self.stand_in
        return self.stand_in


class SimulatedWorker:
    """Registry entries, heartbeat, engine, backend, upkeep, cancellations: all real.

    Args:
        parent: The parent queue that it serves.
        seat: Hears what happens.
    """

    def __init__(self, kind: Kind, parent: str, seat: Listener) -> None:
        clock, rng = SystemClock(), random.Random()
        logger = logging.Logger("simulated", logging.INFO)  # noqa: LOG001 - one each, as each worker has a log of its own
        logger.addHandler(logging.NullHandler())
        config = Config(
            worker=WorkerConfig(queue=parent, concurrency=kind.concurrency),
            redis=RedisConfig(addr=kind.addr),
            deployment=DeploymentConfig(dir=kind.directory),
        )
        listener = Fanout(TaskLog(logger, task_lines=config.log.task_lines, clock=clock), Counts(clock), seat)
        context = Context(
            config=config,
            source=LocalAnswer(kind, parent),
            worker_id=make_worker_id(),
            listener=listener,
            clock=clock,
            rng=rng,
            retry_delay=asynq_retry_delay(rng),
            middleware=(),
            burst=False,
            state_dir=Path(kind.directory),
        )
        beats = Beats(context, logger)
        self.lane = Lane(parent, (parent,), context, beats.add, beats.moved)
        self.lane.releases = releases = SimulatedReleases(parent, context, SharedClock(clock))
        releases.stand_in = StandIn(kind.concurrency, kind.task_seconds)

    async def run(self) -> None:
        """Work until the process ends."""
        await self.lane.run()
