"""One `dev` session: server, worker and file watching around one piece of task code."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from runqy_worker.app.worker import Worker
from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.deployment.releases import Releases
from runqy_worker.development.control_server import ControlServer
from runqy_worker.development.snapshot import SourceSnapshot
from runqy_worker.development.watch import Watcher
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Silent
from runqy_worker.domain.queues import enqueue_target
from runqy_worker.domain.settlement import Action
from runqy_worker.telemetry.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from runqy_worker.development.plan import Plan
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

RETENTION = 86400.0
"""Seconds that completed tasks can be looked at."""
MAX_RETRY = 3
"""Retries of the tasks enqueued at the start, as the runqy server gives them."""
RETRY_DELAY = 1.0
"""Seconds until a failed task is tried again, for the first time; a host takes the better part of a minute."""
NAMED = 3
"""Changed files that are named, at most."""
SHOWN = 500
"""Bytes of a result that are shown, at most."""


class Session:
    """Runs a plan.

    Args:
        plan: What to run.
        directory: For files of this session only.
        redis_addr: Where Redis is.
        say: Tells the person at the terminal.
    """

    def __init__(self, plan: Plan, directory: Path, redis_addr: str, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._redis_addr = redis_addr
        self._say = say
        self._queues_file = directory / "queues.yml"
        self._snapshot: SourceSnapshot | None = None
        self._watcher: Watcher | None = None

    def prepare(self) -> None:
        """Make the file that the server reads, and the repository that the worker clones if the code is a directory.

        What an earlier session left is not fallen back on: somebody who writes code wants to see that it is broken.

        Raises:
            DeploymentError: The directory can't be put into a repository.
        """
        plan = self._plan
        plan.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        Releases(plan.releases, SystemClock()).forget()
        self._queues_file.write_text(json.dumps(plan.definitions()))  # JSON is YAML
        if plan.source is not None:
            self._watcher = Watcher(plan.source) if plan.watch else None
            self._snapshot = SourceSnapshot(plan.source, plan.home / "source")
            self._snapshot.take()
            for folder in self._snapshot.left_out:
                self._say(f"{folder} is a repository of its own: the task code will not find its files")

    async def serve(self, serve: Callable[[Worker], Awaitable[None]]) -> None:
        """Work until `serve(worker)` returns."""
        plan = self._plan
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(ControlServer(self._queues_file, redis_addr=self._redis_addr))
            config = plan.config(server.url, server.api_key)
            worker = Worker(config, retry_delay=_soon, listeners=[_Results(self._say)], burst=plan.burst)
            await self._enqueue()
            self._instruct(server)
            if self._watcher is not None and self._snapshot is not None:
                watching = self._redeploy_on_change(self._watcher, self._snapshot, worker)
                stack.push_async_callback(_end, asyncio.create_task(watching, name="watch files"))
            await serve(worker)

    async def _enqueue(self) -> None:
        queue = enqueue_target(self._plan.queue)
        tasks = [
            NewTask(queue, text.encode(), max_retry=MAX_RETRY, retention=RETENTION) for text in self._plan.payloads
        ]
        if tasks:
            async with AsynqClient(RedisOptions(addr=self._redis_addr)) as client:
                await client.enqueue_many(tasks)

    async def _redeploy_on_change(self, watcher: Watcher, snapshot: SourceSnapshot, worker: Worker) -> None:
        async for changed in watcher:
            try:
                new = await asyncio.to_thread(snapshot.take)
            except DeploymentError as error:  # such as all files gone, in the middle of a checkout
                self._say(f"not deployed: {error}")
                continue
            if new:
                self._say(f"changed: {self._names(changed)}; deploying")
                worker.request_reload()

    def _names(self, changed: set[str]) -> str:
        names = sorted(os.path.relpath(path, self._plan.source) for path in changed)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + more

    def _instruct(self, server: ControlServer) -> None:
        queue, redis = self._plan.queue, self._redis_addr
        self._say(
            f"queue {queue}, Redis {redis}, server {server.url}. In another terminal:\n"
            f"  runqy-worker enqueue {queue} --payload '{{}}' --redis {redis} --wait\n"
            f"  runqy-worker queue ls --redis {redis}\n"
            f"or as a client of the server:\n"
            f"  curl {server.url}/queue/add -H 'X-API-Key: {server.client_key}'"
            f' -d \'{{"queue": "{queue}", "data": {{}}}}\''
        )


class _Results(Silent):
    """Shows what tasks gave, which a log does not."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        """Show the result of a completed task, the beginning of a long one."""
        if accepted and settlement.action is Action.COMPLETE and settlement.result is not None:
            text = one_line(settlement.result[:SHOWN].decode(errors="replace"))
            more = " ..." if len(settlement.result) > SHOWN else ""
            self._say(f"  result of {settlement.task.id}: {text}{more}")


def _soon(retried: int, error: str, task: Task) -> float:  # noqa: ARG001 - the names of `RetryDelay`
    return RETRY_DELAY * 2.0**retried


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it, and raise what it had died of, if it had."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
