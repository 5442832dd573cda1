"""A task as it stands in Redis, for people and programs that look at it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.codec import decode_headers, decode_message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIELDS = ("msg", "state", "result", "pending_since", "retried", "deaths", "reruns", "recovered")
"""What is read of a task's hash."""
FINISHED = frozenset({"completed", "archived"})
_NANOSECONDS = 10**15
"""`pending_since` above this is in nanoseconds; below, it was written in seconds."""


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """One task.

    Attributes:
        state: `pending`, `active`, `scheduled`, `retry`, `archived`, `completed` or `aggregating`.
        error: Text of its last failure.
        last_failed_at: Unix seconds; 0 means never.
        timeout: Seconds per attempt; 0 means that only the deadline counts.
        deadline: Unix seconds; 0 means none.
        retention: Seconds it is kept after success.
        completed_at: Unix seconds; 0 means not yet.
        pending_since: Unix seconds; 0 when it isn't pending, or unknown.
        next_process_at: Unix seconds when it becomes pending, if it is scheduled or waits for a retry; else 0.
        result: Raw bytes that the task code gave, if any.
        deaths: Process deaths charged to it.
        reruns: Involuntary re-runs.
        recovered: Times it was taken back from a worker that fell silent.
    """

    id: str
    queue: str
    state: str
    type: str
    payload: bytes
    max_retry: int
    retried: int
    error: str = ""
    last_failed_at: int = 0
    timeout: int = 0
    deadline: int = 0
    retention: int = 0
    completed_at: int = 0
    pending_since: float = 0
    next_process_at: float = 0
    group: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    result: bytes | None = None
    deaths: int = 0
    reruns: int = 0
    recovered: int = 0

    @property
    def finished(self) -> bool:
        """Whether it will not run again by itself."""
        return self.state in FINISHED


def read_task(task_id: str, queue: str, values: Sequence[bytes | None], score: bytes | None) -> TaskInfo:
    """Make one of the hash's `FIELDS` and its score in scheduled or retry.

    Raises:
        CodecError: The message can't be read.
    """
    msg, state, result, since, retried, *counts = values
    message = decode_message(msg or b"")
    deaths, reruns, recovered = (int(count or 0) for count in counts)
    return TaskInfo(
        id=task_id,
        queue=queue,
        state=(state or b"unknown").decode(),
        type=message.type,
        payload=message.payload,
        max_retry=message.retry,
        retried=max(message.retried, int(retried or 0)),
        error=message.error_msg,
        last_failed_at=message.last_failed_at,
        timeout=message.timeout,
        deadline=message.deadline,
        retention=message.retention,
        completed_at=message.completed_at,
        pending_since=since_seconds(since),
        next_process_at=float(score or 0),
        group=message.group_key,
        headers=decode_headers(message.headers),
        result=result,
        deaths=deaths,
        reruns=reruns,
        recovered=recovered,
    )


def since_seconds(text: bytes | None) -> float:
    """Unix seconds of a `pending_since` field, which asynq writes in nanoseconds and older workers in seconds."""
    value = int(text or 0)
    return value / 1e9 if value > _NANOSECONDS else float(value)
