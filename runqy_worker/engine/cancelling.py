"""Listens for cancellations and passes them to the executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.events import Listener, Notice

if TYPE_CHECKING:
    from runqy_worker.domain.ports import Backend, Executor
    from runqy_worker.engine.outages import Outages


class Canceller:
    """The cancellation loop."""

    def __init__(self, backend: Backend, executor: Executor, outages: Outages, listener: Listener) -> None:
        self._backend = backend
        self._executor = executor
        self._outages = outages
        self._listener = listener

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            await self._outages.until_done("listen", lambda: self._backend.listen(self._cancel), blocks=True)

    def _cancel(self, task_id: str) -> None:
        if self._executor.cancel(task_id):
            fields = {"task_id": task_id}
            self._listener.notice(Notice("task_cancelled", f"task {task_id} was cancelled", fields=fields))
