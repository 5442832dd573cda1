"""A task: one unit of work, as the engine and the executors see it."""

from __future__ import annotations


class Task:
    """One claimed task. Slotted and mutable, because the hot path makes one per task and nothing else.

    Attributes:
        id: Unique within its queue.
        type: What the task code dispatches on.
        payload: Opaque bytes, as enqueued.
        queue: Full name of the queue that it was claimed from.
        max_retry: Failures after which it is archived instead of retried.
        retried: Failures counted so far.
        timeout: Seconds that one attempt may run; 0 means no limit.
        deadline: Unix seconds after which it must not run; 0 means none.
        pending_since: Unix seconds when it became pending; 0 means unknown.
        pending_timeout: Seconds that it may wait in pending before it is archived unrun; 0 means no limit.
        deaths: Process deaths charged to it so far.
        reruns: Times it was run again through no fault of its own.
        token: Names the claim that it came with, as do others of that claim; renew, settle and release compare it.
            Void once someone else holds the task.
        alone: It is suspected of killing its process and must run with no neighbour.
        claimed_at: Monotonic seconds of the claim.
        started_at: Monotonic seconds when it was handed to its process; 0 while it waits.
        expires_at: Monotonic seconds when its time is up; 0 means never. Set when it can have begun.
        record: The backend's own memory of the task; nobody else looks inside.
    """

    __slots__ = (
        "alone",
        "claimed_at",
        "deadline",
        "deaths",
        "expires_at",
        "id",
        "max_retry",
        "payload",
        "pending_since",
        "pending_timeout",
        "queue",
        "record",
        "reruns",
        "retried",
        "started_at",
        "timeout",
        "token",
        "type",
    )

    def __init__(
        self,
        id: str,  # noqa: A002 - the field's standard name
        type: str,  # noqa: A002 - likewise
        payload: bytes,
        queue: str,
        *,
        max_retry: int = 25,
        retried: int = 0,
        timeout: float = 0,
        deadline: float = 0,
        pending_since: float = 0,
        pending_timeout: float = 0,
        deaths: int = 0,
        reruns: int = 0,
        token: str = "",
        claimed_at: float = 0,
        record: object = None,
    ) -> None:
        self.id = id
        self.type = type
        self.payload = payload
        self.queue = queue
        self.max_retry = max_retry
        self.retried = retried
        self.timeout = timeout
        self.deadline = deadline
        self.pending_since = pending_since
        self.pending_timeout = pending_timeout
        self.deaths = deaths
        self.reruns = reruns
        self.token = token
        self.alone = False
        self.claimed_at = claimed_at
        self.started_at = 0.0
        self.expires_at = 0.0
        self.record = record

    def __repr__(self) -> str:
        return f"<Task {self.id} type={self.type} queue={self.queue} retried={self.retried}/{self.max_retry}>"
