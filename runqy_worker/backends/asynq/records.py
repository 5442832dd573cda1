"""From what a claim returned to a `Task`, and the rules that give an attempt its limits."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeAlias, overload

from runqy_worker.backends.asynq.codec import (
    COMPLETED_AT,
    CodecError,
    TaskMessage,
    decode_message,
    encode_message,
    write_int,
)
from runqy_worker.backends.asynq.shortcut import read_quickly
from runqy_worker.domain.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.config.model import LifecycleConfig

DEFAULT_TIMEOUT = 1800
"""Seconds that asynq gives a task with neither timeout nor deadline."""
_NANOSECONDS_ABOVE = 1e15
"""asynq writes `pending_since` in nanoseconds, older runqy workers in seconds."""
_LOOKS_LIKE_BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*\Z")

Claimed: TypeAlias = "tuple[bytes | None, bytes | None, bytes, list[bytes | None] | None, list[bytes | None] | None]"
"""What the claim script returns for a task: msg, pending_since, id; then what most tasks lack: the optional fields,
and the plain fields of a task without msg."""


class Record:
    """What is needed to write the task back.

    Attributes:
        limits: The message as far as `TaskReader` looked: without type, payload and id perhaps, and shared with other
            tasks. Not to be changed.
        stored: The message's bytes in the store; empty when it has none there.
        pending_since: The hash field as it stood, for giving the task back; empty when there was none.
        ttl_completed: Seconds that the server wants this task kept after success; None when it said nothing.
    """

    __slots__ = ("_message", "limits", "pending_since", "stored", "ttl_completed")

    def __init__(self, limits: TaskMessage, stored: bytes, pending_since: bytes) -> None:
        self.limits = limits
        self.stored = stored
        self.pending_since = pending_since
        self.ttl_completed: float | None = None
        self._message: TaskMessage | None = None

    @property
    def message(self) -> TaskMessage:
        """The whole message, as stored; settling changes it."""
        if self._message is None:
            self._message = decode_message(self.stored) if self.stored else self.limits
        return self._message


class TaskReader:
    """Makes the tasks of one backend.

    Args:
        lifecycle: For tasks that carry no limits of their own.
        max_retry: For tasks that were enqueued as plain fields without one.
    """

    def __init__(self, lifecycle: LifecycleConfig, max_retry: int) -> None:
        self._pending_timeout = lifecycle.pending_timeout
        self._active_timeout = lifecycle.active_timeout
        self._max_retry = max_retry

    def read(self, claimed: Claimed, queue: str, token: str, claimed_at: float) -> Task:
        """The task behind one entry of the claim script's reply. Raises `CodecError` when its message is broken."""
        msg, since, ident, extras, plain = claimed
        try:
            task_id = ident.decode()
        except UnicodeDecodeError:
            raise CodecError("its id is not valid UTF-8") from None
        quickly = read_quickly(msg, ident) if msg is not None else None
        if quickly is not None and quickly[2].queue == queue:
            kind, payload, message = quickly
        else:
            message = decode_message(msg) if msg is not None else self._plain(task_id, plain or (), queue)
            kind, payload = message.type, message.payload
            if message.id != task_id or message.queue != queue:  # where it was found is what counts
                message.id, message.queue, msg = task_id, queue, None
        timeout: float = message.timeout
        deadline = message.deadline
        if timeout <= 0 and deadline <= 0:
            timeout = DEFAULT_TIMEOUT
        longest = self._active_timeout
        pending_timeout = self._pending_timeout
        retried = message.retried
        deaths = reruns = 0
        record = Record(message, msg or b"", since or b"")
        if extras is not None:
            retried = max(retried, int(_number(extras[0], 0)))
            deaths = int(_number(extras[1], 0))
            reruns = int(_number(extras[2], 0))
            record.ttl_completed = _number(extras[3], None)
            pending_timeout = _number(extras[4], pending_timeout)
            longest = _number(extras[5], longest)
        if longest > 0:
            timeout = min(timeout, longest) if timeout > 0 else longest
        return Task(
            task_id,
            kind,
            payload,
            queue,
            max_retry=message.retry,
            retried=retried,
            timeout=timeout,
            deadline=deadline,
            pending_since=_unix_seconds(since) if since is not None else 0,
            pending_timeout=pending_timeout,
            deaths=deaths,
            reruns=reruns,
            token=token,
            claimed_at=claimed_at,
            record=record,
        )

    def _plain(self, task_id: str, plain: Sequence[bytes | None], queue: str) -> TaskMessage:
        kind, payload, max_retry = plain
        if kind is None:
            raise CodecError("it has neither a message nor a type")
        return TaskMessage(
            (kind or b"").decode(errors="replace"),
            payload or b"",
            task_id,
            queue,
            int(_number(max_retry, self._max_retry)),
            timeout=DEFAULT_TIMEOUT,
        )


def retention_of(record: Record, lifecycle: LifecycleConfig) -> int:
    """Whole seconds to keep a completed task: what the server wrote for it, else the configuration, else its own."""
    if record.ttl_completed is not None:
        return math.ceil(record.ttl_completed)
    if lifecycle.ttl_completed is not None:
        return math.ceil(lifecycle.ttl_completed)
    return max(0, record.limits.retention)


def completed_message(record: Record, retention: int, now: int) -> bytes:
    """The message of a task that succeeded at `now` and is kept for `retention` seconds."""
    if record.stored and record.limits.retention == retention and not record.limits.completed_at:
        out = bytearray(record.stored)  # one field more; its place does not matter
        write_int(out, COMPLETED_AT, now)
        return bytes(out)
    message = record.message
    message.completed_at = now
    message.retention = retention
    return encode_message(message)


def guard_result(result: bytes) -> bytes:
    """The result, with a space after it when it would pass for base64.

    The runqy server decodes stored results that happen to be valid base64 (`true`, `null`, `1234`); its decoder
    refuses a space, and JSON parsers skip it.
    """
    if _LOOKS_LIKE_BASE64.match(result):
        significant = len(result) - result.count(b"\r") - result.count(b"\n")
        if significant and not significant % 4:
            return result + b" "
    return result


@overload
def _number(raw: bytes | None, otherwise: float) -> float: ...
@overload
def _number(raw: bytes | None, otherwise: None) -> float | None: ...
def _number(raw: bytes | None, otherwise: float | None) -> float | None:
    """A hash field's number; `otherwise` when it has none, or nonsense: other programs write these fields."""
    if raw is None:
        return otherwise
    try:
        value = float(raw)
    except ValueError:
        return otherwise
    return value if value >= 0 and math.isfinite(value) else otherwise


def _unix_seconds(raw: bytes) -> float:
    value = _number(raw, 0.0)
    return value / 1e9 if value > _NANOSECONDS_ABOVE else value
