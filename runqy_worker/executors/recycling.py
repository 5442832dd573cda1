"""Replaces a long-running process in time: after so many tasks, at an age, or when it holds too much memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psutil

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.events import Level

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runqy_worker.executors.child import Child
    from runqy_worker.executors.context import Context

CHECK_EVERY = 5.0
"""Seconds between looks at age and memory."""
RETRY_PAUSE = 60.0
"""Seconds until the next attempt when a fresh process did not become ready."""
JITTER = 0.1
"""Share by which each limit varies, so that the processes of a fleet don't all restart at once."""


class Recycler:
    """Watches the process in use.

    Args:
        context: Limits and collaborators.
        replace: Puts a fresh process in a child's place; does nothing if the child is no longer in use.
    """

    def __init__(self, context: Context, replace: Callable[[Child, str], Awaitable[None]]) -> None:
        self._context = context
        self._replace = replace
        self._worn = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._max_age = 0.0
        self._max_rss = 0.0

    def watch(self, child: Child) -> None:
        """From now on `child` is the process in use."""
        config = self._context.process
        self._child = child
        self._worn.clear()
        self._max_age = self._vary(config.max_age)
        self._max_rss = self._vary(config.max_rss)
        if config.max_tasks:
            child.answer_limit = max(1, round(self._vary(config.max_tasks)))
        if self._task is None and (config.max_tasks or config.max_age or config.max_rss):
            self._task = asyncio.create_task(self._run(), name="recycling")

    def worn(self) -> None:
        """The process has run as many tasks as it may."""
        self._worn.set()

    def stop(self) -> None:
        """Watch no longer."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            child = self._child
            reason = await self._reason(child) if child is not None else ""
            if child is None or not reason:
                await self._wait()
                continue
            self._child = None  # until the next one is in use
            try:
                await self._replace(child, reason)
            except ExecutorStartError as error:
                message = f"the process could not be replaced, the old one serves on: {error}"
                self._context.notices.emit("recycle_failed", message, Level.ERROR)
                await asyncio.sleep(RETRY_PAUSE)
                self._watch_again(child)

    def _watch_again(self, child: Child) -> None:
        if self._child is None:
            self._child = child

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(CHECK_EVERY if self._max_age or self._max_rss else None):
                await self._worn.wait()
                self._worn.clear()
        except TimeoutError:
            return

    async def _reason(self, child: Child) -> str:
        """Why the process is due; empty when it is not."""
        if child.worn:
            return f"it ran {child.answered} tasks (process.max_tasks)"
        age = self._context.clock.monotonic() - child.ready_at
        if self._max_age and age >= self._max_age:
            return f"it is {age:.0f} s old (process.max_age)"
        if self._max_rss:
            rss = await asyncio.to_thread(memory_of_tree, child.pid)
            if rss >= self._max_rss:
                return f"it holds {rss} bytes of memory (process.max_rss)"
        return ""

    def _vary(self, limit: float) -> float:
        return limit * self._context.rng.uniform(1 - JITTER, 1 + JITTER)


def memory_of_tree(pid: int) -> int:
    """Bytes of memory that a process and its descendants hold; 0 when it is gone."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
