"""A worker that writes down when it held which task, and when its own event loop did not get to run.

One line per event, times by the monotonic clock that all processes of a host share:
`held <task> <claimed> <started or given back> <started|returned>`, `ended <task> <at>`, `stood <from> <until>`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.app.worker import Worker
from runqy_worker.cli.run import serve
from runqy_worker.config.loading import load_config
from runqy_worker.domain.events import Silent
from runqy_worker.domain.settlement import Action
from runqy_worker.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

TICK = 0.005
STOOD_STILL = 0.02


class Diary(Silent):
    """Listener and middleware: collects the lines, and writes them at the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task_started(self, task: Task) -> None:
        self.lines.append(f"held {task.id} {task.claimed_at} {task.started_at} started")

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        task = settlement.task
        if settlement.action is Action.RELEASE and not task.started_at:
            self.lines.append(f"held {task.id} {task.claimed_at} {time.monotonic()} returned")

    def before(self, task: Task) -> Outcome | None:
        return None

    def after(self, task: Task, outcome: Outcome) -> Outcome:
        self.lines.append(f"ended {task.id} {time.monotonic()}")
        return outcome

    async def watch_loop(self) -> None:
        """Notice when the event loop stands still."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if now - before > TICK + STOOD_STILL:
                self.lines.append(f"stood {before} {now}")
            before = now


async def main(worker: Worker, diary: Diary) -> None:
    watching = asyncio.create_task(diary.watch_loop())
    await serve(worker)
    watching.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True)
    parser.add_argument("--diary", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = load_config(args.config)
    diary = Diary()
    worker = Worker(
        config,
        logger=configure_logging(config.log),
        rng=random.Random(args.seed),
        middleware=[diary],
        listeners=[diary],
    )
    asyncio.run(main(worker, diary))
    args.diary.write_text("\n".join(diary.lines))
