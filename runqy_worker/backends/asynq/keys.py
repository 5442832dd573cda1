"""The names of asynq's keys. The braces around a queue's name keep all its keys in one cluster slot."""

from __future__ import annotations

import hashlib
import time

QUEUES = "asynq:queues"
SERVERS = "asynq:servers"
WORKERS = "asynq:workers"
CANCEL_CHANNEL = "asynq:cancel"


def lookup_key(task_id: str) -> str:
    """The runqy server's record of which queue a task is in; deleted together with the task."""
    return f"asynq:t:{task_id}"


def day_of(now: float) -> str:
    """The UTC day, as in the daily counters' names."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))


class QueueKeys:
    """Every key of one queue."""

    __slots__ = (
        "active",
        "archived",
        "completed",
        "failed",
        "groups",
        "lease",
        "paused",
        "pending",
        "prefix",
        "processed",
        "queue",
        "retry",
        "scheduled",
        "task_prefix",
    )

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.prefix = prefix = f"asynq:{{{queue}}}:"
        self.pending = prefix + "pending"
        self.active = prefix + "active"
        self.lease = prefix + "lease"
        self.scheduled = prefix + "scheduled"
        self.retry = prefix + "retry"
        self.archived = prefix + "archived"
        self.completed = prefix + "completed"
        self.paused = prefix + "paused"
        self.processed = prefix + "processed"
        self.failed = prefix + "failed"
        self.groups = prefix + "groups"
        self.task_prefix = prefix + "t:"

    def task(self, task_id: str) -> str:
        """The task's hash."""
        return self.task_prefix + task_id

    def processed_on(self, day: str) -> str:
        """The day's counter of processed tasks; `day` as from `day_of`."""
        return f"{self.processed}:{day}"

    def failed_on(self, day: str) -> str:
        """The day's counter of failed tasks; `day` as from `day_of`."""
        return f"{self.failed}:{day}"

    def group(self, name: str) -> str:
        """The members of a group that waits to be aggregated."""
        return f"{self.prefix}g:{name}"

    def unique(self, task_type: str, payload: bytes | None) -> str:
        """The lock of unique tasks of this type and payload; None is asynq's nil payload."""
        digest = "" if payload is None else hashlib.md5(payload, usedforsecurity=False).hexdigest()
        return f"{self.prefix}unique:{task_type}:{digest}"
