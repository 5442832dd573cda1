"""One way to write a log record, so that every handler finds the same facts under the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from runqy_worker.domain.task import Task

WORKER = "worker"
"""The source of a line that is ours; task code's lines have `stdout` or `stderr`."""

_NO_FIELDS: Mapping[str, object] = {}


def emit(
    logger: logging.Logger,
    level: int,
    message: str,
    *,
    action: str,
    task: Task | None = None,
    source: str = WORKER,
    fields: Mapping[str, object] = _NO_FIELDS,
) -> None:
    """Log `message` as it is (no `%` formatting), with its facts as attributes of the record.

    The record carries `action`, `source`, `fields`, and, when it concerns a task, `task_id`, `queue` and `attempt`
    (1 for the first run).
    """
    extra: dict[str, object] = {"action": action, "source": source, "fields": fields}
    if task is not None:
        extra["task_id"] = task.id
        extra["queue"] = task.queue
        extra["attempt"] = task.retried + 1
    logger.log(level, message, extra=extra)


def facts(record: logging.LogRecord) -> dict[str, object]:
    """The facts of a record for machines: `action`, `task_id`, `queue`, `attempt`, where it has them."""
    found = {}
    for name in ("action", "task_id", "queue", "attempt"):
        value = getattr(record, name, None)
        if value is not None:
            found[name] = value
    return found


def source_of(record: logging.LogRecord) -> str:
    """Who said it: `worker`, `stdout` or `stderr`."""
    return str(getattr(record, "source", WORKER))


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """The further facts of a record, by name."""
    fields: Mapping[str, object] = getattr(record, "fields", None) or _NO_FIELDS
    return fields
