"""What the client is told when Redis is fine but the request can't be met."""

from __future__ import annotations

from runqy_worker.domain.errors import RunqyError


class RefusedError(RunqyError):
    """The request can't be met as things stand; asking again changes nothing."""


class TaskIdTakenError(RefusedError):
    """The queue has a task of this id already.

    Attributes:
        task_id: The id.
    """

    def __init__(self, queue: str, task_id: str) -> None:
        super().__init__(f"queue {queue} already has a task {task_id}")
        self.task_id = task_id


class DuplicateTaskError(RefusedError):
    """The same type and payload is locked by an earlier unique task.

    Attributes:
        holder: Id of the task that holds the lock; empty when it let go meanwhile.
    """

    def __init__(self, queue: str, holder: str) -> None:
        super().__init__(f"queue {queue} already has such a task: {holder or '(unknown)'} holds the lock")
        self.holder = holder


class TaskNotFoundError(RefusedError):
    """There is no such task (any more)."""

    def __init__(self, task_id: str, queue: str | None = None) -> None:
        where = f"queue {queue}" if queue else "any queue"
        super().__init__(f"task {task_id} is not in {where}: it never was, was deleted, or its retention is over")
        self.task_id = task_id


class QueueNotFoundError(RefusedError):
    """Redis knows no such queue.

    Attributes:
        queue: The name.
    """

    def __init__(self, queue: str) -> None:
        super().__init__(f"there is no queue {queue}")
        self.queue = queue


class TaskStateError(RefusedError):
    """The task is in a state in which this can't be done.

    Attributes:
        state: The state.
    """

    def __init__(self, task_id: str, state: str, wanted: str) -> None:
        super().__init__(f"task {task_id} is {state}: {wanted}")
        self.state = state
