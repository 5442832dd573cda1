"""A user's retry delay, made safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Listener, Notice

if TYPE_CHECKING:
    from runqy_worker.domain.task import Task
    from runqy_worker.engine.retrying import RetryDelay


def guarded(chosen: RetryDelay, fallback: RetryDelay, listener: Listener) -> RetryDelay:
    """`chosen`, or `fallback` where it raises or gives no number: a task never hangs on a user's formula."""

    def delay(retried: int, error: str, task: Task) -> float:
        try:
            return float(chosen(retried, error, task))
        except Exception as problem:  # noqa: BLE001 - the boundary to user code: told, and replaced by the default
            message = f"retry_delay raised {problem!r}; the default delay is used"
            listener.notice(Notice("retry_delay_failed", message, Level.ERROR, task))
            return fallback(retried, error, task)

    return delay
