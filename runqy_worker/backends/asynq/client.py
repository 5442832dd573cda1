"""Enqueues tasks, and does everything else that one does to tasks from outside."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Self

from runqy_worker.backends.asynq.inspector import AsynqInspector
from runqy_worker.backends.asynq.keys import QUEUES
from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.backends.asynq.refusals import DuplicateTaskError, RefusedError, TaskIdTakenError
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.events import Silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_BATCH = 500


class AsynqClient(AsynqInspector):
    """Everything on the producer's side, over one connection. Use it as an async context manager, or `close` it.

    Args:
        options: Where Redis is.
    """

    def __init__(self, options: RedisOptions, *, listener: Listener | None = None, clock: Clock | None = None) -> None:
        super().__init__(Link(options, "client", listener=listener or Silent()), clock=clock or SystemClock())
        self._announced: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._link.connect()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect."""
        await self._link.close()

    async def enqueue(self, queue: str, payload: bytes, *, task_id: str | None = None, **options: Any) -> str:
        """Enqueue one task.

        Args:
            queue: Full queue name.
            payload: Opaque bytes.
            task_id: Its id; a random UUID when None.
            options: Further fields of `NewTask`.

        Returns:
            The task's id.

        Raises:
            TaskIdTakenError: The queue has a task of this id.
            DuplicateTaskError: An earlier unique task of the same type and payload holds the lock.
            ValueError: An option can't be used.
            BackendUnavailableError: Redis did not answer: the task may or may not have been taken. Send it again
                with the same `task_id` to be sure.
        """
        if task_id is not None:
            options["id"] = task_id
        answer = (await self.enqueue_many([NewTask(queue, payload, **options)]))[0]
        if isinstance(answer, RefusedError):
            raise answer
        return answer

    async def enqueue_many(self, tasks: Iterable[NewTask]) -> list[str | RefusedError]:
        """Enqueue tasks, hundreds per round trip.

        Returns:
            In order, the id of each task, or why it was refused. The others are enqueued all the same.

        Raises:
            BackendUnavailableError: Redis did not answer: those sent last may or may not have been taken.
        """
        answers: list[str | RefusedError] = []
        pending = iter(tasks)
        while batch := list(itertools.islice(pending, _BATCH)):
            answers += await self._send(batch)
        return answers

    async def _send(self, batch: list[NewTask]) -> list[str | RefusedError]:
        """One round trip."""
        fresh = sorted({task.queue for task in batch} - self._announced)
        commands: list[tuple[Arg, ...]] = [("SADD", QUEUES, queue) for queue in fresh]
        replies = await self._link.pipeline([*commands, *(task.command() for task in batch)])
        self._announced.update(fresh)
        return [_outcome(task, reply) for task, reply in zip(batch, replies[len(fresh) :], strict=True)]


def _outcome(task: NewTask, reply: list[Any]) -> str | RefusedError:
    if reply[0] == 1:
        return task.id
    if reply[0] == 0:
        return TaskIdTakenError(task.queue, task.id)
    holder = reply[1]
    return DuplicateTaskError(task.queue, holder.decode() if holder else "")
