"""What is to be written to the backend about one task: an outcome after the engine's decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runqy_worker.domain.task import Task


class Action(IntEnum):
    """The transition that a settlement asks for."""

    COMPLETE = 1
    """Succeeded: kept for its retention, or deleted when it has none."""
    RETRY = 2
    """Failed: runs again at `retry_at`."""
    ARCHIVE = 3
    """Failed for good: kept for inspection."""
    DISCARD = 4
    """Revoked: deleted, counted as processed."""
    RELEASE = 5
    """Goes back to the front of its queue, uncharged."""


@dataclass(slots=True)
class Settlement:
    """One transition of one task, valid only while `task.token` is.

    Attributes:
        task: The claimed task.
        action: Which transition.
        result: Raw JSON bytes for COMPLETE; None writes no result.
        error: Text for RETRY and ARCHIVE.
        retry_at: Unix seconds for RETRY; at most now means at once.
        counted: RETRY only: the attempt counts as a failure (`retried` + 1).
        death: A process death is charged to the task (`deaths` + 1).
        rerun: RELEASE only: it may have run in part (`reruns` + 1).
        tries: How often this settlement was sent; above 1, a void token may mean that it was already applied.
        accepted: What the backend answered when the rest of the batch got no answer; None when this got none either.
    """

    task: Task
    action: Action
    result: bytes | None = None
    error: str = ""
    retry_at: float = 0
    counted: bool = True
    death: bool = False
    rerun: bool = False
    tries: int = 0
    accepted: bool | None = None
