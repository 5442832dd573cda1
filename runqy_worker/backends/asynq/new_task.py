"""A task that is to be enqueued."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.codec import TaskMessage, encode_headers, encode_message
from runqy_worker.backends.asynq.keys import QueueKeys, lookup_key
from runqy_worker.backends.asynq.scripts import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.backends.asynq.scripts import Arg

DEFAULT_TIMEOUT = 1800.0
"""Seconds per attempt when neither a timeout nor a deadline is given, as in asynq."""
DEFAULT_MAX_RETRY = 25


@dataclass(slots=True)
class NewTask:
    """What to enqueue.

    Attributes:
        queue: Full queue name.
        payload: Opaque bytes; the runqy worker hands JSON on to the task code.
        type: What the task code dispatches on; the queue's name when empty.
        id: Unique within the queue.
        max_retry: Failures after which it is archived.
        timeout: Seconds per attempt; 0 means 30 minutes, or no limit but the deadline if there is one.
        deadline: Unix seconds after which it must not run; 0 means none.
        retention: Seconds to keep it, with its result, after success; 0 deletes it at once.
        process_at: Unix seconds when it becomes pending; 0 means at once.
        process_in: Seconds until it becomes pending, by the server's clock, instead of `process_at`.
        unique_ttl: Seconds (at least 1) for which no second task of this type and payload is taken; 0 takes any.
        group: Wait in this group for an aggregating server; empty for none.
        headers: More facts, carried along.
        lookup: Also tell the runqy server which queue the task is in, so that it finds it by its id.
    """

    queue: str
    payload: bytes
    type: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    max_retry: int = DEFAULT_MAX_RETRY
    timeout: float = 0
    deadline: float = 0
    retention: float = 0
    process_at: float = 0
    process_in: float = 0
    unique_ttl: float = 0
    group: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    lookup: bool = True

    def __post_init__(self) -> None:
        """Refuse what asynq refuses.

        Raises:
            ValueError: A blank queue or id, braces in the queue's name, or a unique_ttl below a second.
        """
        if not self.queue.strip() or "{" in self.queue or "}" in self.queue:
            raise ValueError(f"queue: got {self.queue!r}, expected a name without braces")
        if not self.id.strip():
            raise ValueError(f"id: got {self.id!r}, expected at least one letter")
        if self.unique_ttl and self.unique_ttl < 1:
            raise ValueError(f"unique_ttl: got {self.unique_ttl:g} s, expected at least 1 s")

    def command(self) -> tuple[Arg, ...]:
        """The script call that enqueues it."""
        keys = QueueKeys(self.queue)
        kind = self.type or self.queue
        lock = keys.unique(kind, self.payload) if self.unique_ttl else ""
        timeout = self.timeout or (0 if self.deadline else DEFAULT_TIMEOUT)
        message = TaskMessage(
            type=kind,
            payload=self.payload,
            id=self.id,
            queue=self.queue,
            retry=max(0, self.max_retry),
            timeout=math.ceil(timeout),
            deadline=math.ceil(self.deadline),
            unique_key=lock,
            retention=math.ceil(self.retention),
            group_key=self.group,
            headers=encode_headers(self.headers),
        )
        names = [keys.task(self.id), keys.pending, keys.scheduled, keys.groups]
        if lock:
            names.append(lock)
        arguments = (
            *(self.id, encode_message(message), self.process_at),
            *(self.group, keys.group(self.group), self.unique_ttl),
            *(keys.queue, lookup_key(self.id) if self.lookup else "", self.process_in),
        )
        return load("enqueue").command(names, arguments)
