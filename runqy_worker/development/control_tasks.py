"""What the control server needs of a task store: to put tasks in, and to look at them. By default, Redis."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.refusals import TaskNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.deployment.answer import RedisAnswer

_MAX_RETRY = 3
_RETENTION = 86400.0
_NO_TIME = "0001-01-01T00:00:00Z"


class TaskView(Protocol):
    """What is shown of a task. Times are Unix seconds; 0 means never."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def queue(self) -> str:
        """Full queue name."""

    @property
    def state(self) -> str:
        """`pending`, `active`, `completed`, ..."""

    @property
    def type(self) -> str:
        """What the task code dispatches on."""

    @property
    def payload(self) -> bytes:
        """As enqueued."""

    @property
    def max_retry(self) -> int:
        """Failures after which it is archived."""

    @property
    def retried(self) -> int:
        """Failures so far."""

    @property
    def error(self) -> str:
        """Text of its last failure."""

    @property
    def last_failed_at(self) -> float:
        """When it failed last."""

    @property
    def deadline(self) -> float:
        """When it must not run any more."""

    @property
    def next_process_at(self) -> float:
        """When it becomes pending."""

    @property
    def completed_at(self) -> float:
        """When it succeeded."""

    @property
    def result(self) -> bytes | None:
        """What the task code gave."""


class Enqueues(Protocol):
    """Puts tasks into a queue. Called from the server's threads."""

    def __call__(self, queue: str, payloads: Sequence[bytes], timeout: float, /) -> Sequence[str | Exception]:
        """In order, each task's id or why it was refused; `timeout` is seconds per attempt."""


class LooksUp(Protocol):
    """Finds a task by its id. Called from the server's threads."""

    def __call__(self, task_id: str, /) -> TaskView | None:
        """The task; None when it is unknown."""


class AsynqTasks:
    """The tasks in a Redis, by the settings of the runqy server. A connection for each call, from any thread.

    Args:
        redis: Where it is.
    """

    def __init__(self, redis: RedisAnswer) -> None:
        self._options = RedisOptions(
            addr=redis.addr, username=redis.username, password=redis.password, db=redis.db, tls=redis.use_tls
        )

    def enqueue(self, queue: str, payloads: Sequence[bytes], timeout: float) -> Sequence[str | Exception]:
        """As `Enqueues`. Raises `BackendUnavailableError`."""
        tasks = [
            NewTask(queue, payload, max_retry=_MAX_RETRY, timeout=timeout, retention=_RETENTION) for payload in payloads
        ]

        async def send() -> Sequence[str | Exception]:
            async with AsynqClient(self._options) as client:
                return await client.enqueue_many(tasks)

        return asyncio.run(send())

    def lookup(self, task_id: str) -> TaskView | None:
        """As `LooksUp`. Raises `BackendUnavailableError`."""

        async def look() -> TaskView | None:
            async with AsynqClient(self._options) as client:
                try:
                    return await client.get_task(task_id)
                except TaskNotFoundError:
                    return None

        return asyncio.run(look())


def shown_as_found(task: TaskView) -> dict[str, Any]:
    """A task as `GET /queue/{id}` shows it: payload and result as text."""
    return {
        "id": task.id,
        "type": task.type,
        "payload": task.payload.decode(errors="replace"),
        "state": task.state,
        "queue": task.queue,
        "max_retry": task.max_retry,
        "retried": task.retried,
        "LastErr": task.error,
        "LastFailedAt": _time(task.last_failed_at),
        "Deadline": _time(task.deadline),
        "Group": "",
        "NextProcessAt": _time(task.next_process_at),
        "IsOrphaned": False,
        "CompletedAt": _time(task.completed_at),
        "Result": (task.result or b"").decode(errors="replace"),
    }


def shown_as_added(task: TaskView) -> dict[str, Any]:
    """A task as `POST /queue/add` shows it: payload and result in base64."""
    result = None if task.result is None else base64.b64encode(task.result).decode()
    return shown_as_found(task) | {"payload": base64.b64encode(task.payload).decode(), "Result": result}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else _NO_TIME
