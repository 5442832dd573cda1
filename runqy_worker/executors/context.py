"""What all processes of one executor share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Listener, Notice
from runqy_worker.executors.notices import LimitedNotices
from runqy_worker.executors.output import OutputLimit
from runqy_worker.executors.reaper import ChildRecords
from runqy_worker.executors.starting import Starter

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from runqy_worker.config.model import ProcessConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.executors.session import Session

KILL_PATIENCE = 10.0
"""Seconds until a process that was killed is taken to be stuck in the kernel."""


@dataclass(frozen=True, slots=True)
class Context:
    """Settings and collaborators.

    Attributes:
        process: Limits and graces.
        listener: Hears what happens.
        clock: Time.
        rng: For jitter.
        records: Where live children are written down.
        starter: Starts them.
        notices: Notices that may come often.
        output_limit: How much task code may print.
        live: Every process that was started and is not gone.
    """

    process: ProcessConfig
    listener: Listener
    clock: Clock
    rng: random.Random
    records: ChildRecords
    starter: Starter
    notices: LimitedNotices
    output_limit: OutputLimit
    live: set[Session] = field(default_factory=set)

    async def end_all(self, grace: float) -> None:
        """End every process, and wait until nothing is left of any."""
        while self.live:
            sessions = list(self.live)
            for session in sessions:
                session.end(grace, "the worker stops")
            done = asyncio.gather(*(session.wait_gone() for session in sessions))
            try:
                async with asyncio.timeout(grace + KILL_PATIENCE):
                    await done
            except TimeoutError:
                pids = [session.pid for session in self.live]
                message = f"processes {pids} did not end although they were killed"
                self.listener.notice(Notice("child_unkillable", message, Level.ERROR, fields={"pids": pids}))
                break
        await self.starter.close()
        self.output_limit.close()


def make_context(
    process: ProcessConfig,
    *,
    listener: Listener,
    clock: Clock,
    rng: random.Random,
    state_dir: Path | None,
) -> Context:
    """A context with its own limits and records."""
    notices = LimitedNotices(listener, clock)
    records = ChildRecords(state_dir, notices)
    return Context(process, listener, clock, rng, records, Starter(notices), notices, OutputLimit(listener))
