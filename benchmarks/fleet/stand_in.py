"""What runs the simulated tasks: nothing. Each ends by itself after a given time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.domain.outcome import Completed, Failed, Outcome, Released
from runqy_worker.domain.ports import ExecutorHealth, ExecutorState

if TYPE_CHECKING:
    from runqy_worker.domain.launch import Launch
    from runqy_worker.domain.ports import Sink
    from runqy_worker.domain.task import Task


class StandIn:
    """An executor without processes.

    Args:
        concurrency: Tasks at once.
        seconds: How long each task takes; 0 ends it in the event loop's next round.
        result: What each task gives.
    """

    def __init__(self, concurrency: int, seconds: float, result: bytes | None = b'{"ok":true}') -> None:
        self._concurrency = concurrency
        self._seconds = seconds
        self._result = result
        self._running: dict[str, tuple[Task, asyncio.Handle]] = {}
        self._sink: Sink | None = None
        self._state = ExecutorState.STOPPED

    def attach(self, sink: Sink) -> None:
        """Say where outcomes go."""
        self._sink = sink

    async def start(self) -> None:
        """Be ready."""
        self._state = ExecutorState.READY

    def room(self) -> int:
        """How many more tasks fit."""
        return self._concurrency - len(self._running) if self._state is ExecutorState.READY else 0

    def run(self, task: Task) -> None:
        """Begin a task."""
        loop = asyncio.get_running_loop()
        outcome = Completed(self._result)
        timer: asyncio.Handle
        if self._seconds:
            timer = loop.call_later(self._seconds, self._end, task.id, outcome)
        else:
            timer = loop.call_soon(self._end, task.id, outcome)
        self._running[task.id] = (task, timer)

    def cancel(self, task_id: str) -> bool:
        """End a task as cancelled."""
        if task_id not in self._running:
            return False
        self._running[task_id][1].cancel()
        self._end(task_id, Failed("cancelled", retryable=False))
        return True

    def abandon(self, task: Task) -> None:
        """Forget a task."""
        found = self._running.pop(task.id, None)
        if found is not None:
            found[1].cancel()

    def health(self) -> ExecutorHealth:
        """Always well."""
        return ExecutorHealth(self._state)

    async def stop(self, grace: float) -> None:  # noqa: ARG002 - the port's signature
        """Give back what runs."""
        self._state = ExecutorState.STOPPED
        for task_id, (_task, timer) in list(self._running.items()):
            timer.cancel()
            self._end(task_id, Released(begun=True, reason="stopped"))

    async def switch(self, launch: Launch, *, mode: str, drain: float) -> float:  # noqa: ARG002 - the port's signature
        """There is no release to switch to."""
        return 0.0

    def _end(self, task_id: str, outcome: Outcome) -> None:
        task, _timer = self._running.pop(task_id)
        if self._sink is not None:
            self._sink.finished(task, outcome)
