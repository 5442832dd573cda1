"""A queue's figures, as asynq's inspector gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.keys import day_of
from runqy_worker.backends.asynq.task_info import since_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One queue.

    Attributes:
        groups: Number of groups that wait to be aggregated.
        paused: Whether nothing is claimed from it.
        latency: Seconds that the oldest pending task has waited.
        processed: Attempts that ended today (UTC), failed ones included.
        failed: Attempts that failed today.
        processed_total: Attempts that ended, ever.
        failed_total: Attempts that failed, ever.
    """

    name: str
    pending: int
    active: int
    scheduled: int
    retry: int
    archived: int
    completed: int
    groups: int
    paused: bool
    latency: float
    processed: int
    failed: int
    processed_total: int
    failed_total: int


def commands_for(keys: QueueKeys, now: float) -> list[tuple[str | int, ...]]:
    """What to ask Redis; the last reply is the oldest pending id."""
    day = day_of(now)
    return [
        ("LLEN", keys.pending),
        ("LLEN", keys.active),
        ("ZCARD", keys.scheduled),
        ("ZCARD", keys.retry),
        ("ZCARD", keys.archived),
        ("ZCARD", keys.completed),
        ("SCARD", keys.groups),
        ("EXISTS", keys.paused),
        ("GET", keys.processed_on(day)),
        ("GET", keys.failed_on(day)),
        ("GET", keys.processed),
        ("GET", keys.failed),
        ("LINDEX", keys.pending, -1),
    ]


def read_queue(name: str, replies: Sequence[Any], since: bytes | None, now: float) -> QueueInfo:
    """Make one of the replies to `commands_for` and the oldest pending task's `pending_since`."""
    pending, active, scheduled, retry, archived, completed, groups, paused, *counts, _oldest = replies
    processed, failed, processed_total, failed_total = (int(count or 0) for count in counts)
    waiting_since = since_seconds(since)
    return QueueInfo(
        name=name,
        pending=pending,
        active=active,
        scheduled=scheduled,
        retry=retry,
        archived=archived,
        completed=completed,
        groups=groups,
        paused=bool(paused),
        latency=max(0.0, now - waiting_since) if waiting_since else 0.0,
        processed=processed,
        failed=failed,
        processed_total=processed_total,
        failed_total=failed_total,
    )
