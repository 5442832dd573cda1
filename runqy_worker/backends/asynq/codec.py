"""The protobuf wire format of asynq's one message, and the few primitives that its other messages need.

Written by hand because the message is frozen, small and decoded once per task. Fields that this program does not
know are kept byte for byte, so that a newer client's data survives a retry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMPLETED_AT = 13
"""The number of that field of a task."""
_U64 = (1 << 64) - 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_CONTINUES = 0x80

# A task's tags: field number times 8 plus wire type. All fit in one byte.
_LENGTH_TAGS = frozenset(number << 3 | _BYTES for number in (1, 2, 3, 4, 7, 10, 14, 15))
_NUMBER_TAGS = frozenset(number << 3 for number in (5, 6, 8, 9, 11, 12, 13))
_INT32_TAGS = frozenset(number << 3 for number in (5, 6))
_HEADERS_TAG = 15 << 3 | _BYTES
_EMPTY: list[Any] = [b"" if number << 3 | _BYTES in _LENGTH_TAGS else 0 for number in range(15)]


class CodecError(ValueError):
    """The bytes are not a message of the expected shape; the text says where and why."""


class TaskMessage:
    """What asynq stores about one task. Field names are asynq's.

    Attributes:
        retry: Most failures before it is archived.
        retried: Failures counted so far.
        timeout: Seconds per attempt; 0 means none.
        deadline: Unix seconds; 0 means none.
        unique_key: The whole lock key, or empty.
        last_failed_at: Unix seconds; 0 means never.
        retention: Seconds to keep it after success; 0 deletes it at once.
        completed_at: Unix seconds; 0 means not yet.
        group_key: Group name, or empty.
        headers: The map entries as they stand on the wire, tags included; see `encode_headers`.
        unknown: Fields of other numbers, as they stand on the wire.
    """

    __slots__ = (
        "completed_at",
        "deadline",
        "error_msg",
        "group_key",
        "headers",
        "id",
        "last_failed_at",
        "payload",
        "queue",
        "retention",
        "retried",
        "retry",
        "timeout",
        "type",
        "unique_key",
        "unknown",
    )

    def __init__(  # noqa: PLR0917 - positional, because one is made for every task
        self,
        type: str = "",  # noqa: A002 - the field's name on the wire
        payload: bytes = b"",
        id: str = "",  # noqa: A002 - likewise
        queue: str = "",
        retry: int = 0,
        retried: int = 0,
        error_msg: str = "",
        timeout: int = 0,
        deadline: int = 0,
        unique_key: str = "",
        last_failed_at: int = 0,
        retention: int = 0,
        completed_at: int = 0,
        group_key: str = "",
        headers: bytes = b"",
        unknown: bytes = b"",
    ) -> None:
        self.type = type
        self.payload = payload
        self.id = id
        self.queue = queue
        self.retry = retry
        self.retried = retried
        self.error_msg = error_msg
        self.timeout = timeout
        self.deadline = deadline
        self.unique_key = unique_key
        self.last_failed_at = last_failed_at
        self.retention = retention
        self.completed_at = completed_at
        self.group_key = group_key
        self.headers = headers
        self.unknown = unknown

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskMessage):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # mutable, so not hashable

    def __repr__(self) -> str:
        return f"<TaskMessage {self.id} type={self.type} queue={self.queue} retried={self.retried}/{self.retry}>"


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit number at `at`, and where it ends. Raises `CodecError` when it is cut off or too long."""
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < _CONTINUES:
                return value & _U64, at
            shift += 7
            if shift > 63:  # noqa: PLR2004 - ten bytes hold 64 bits
                raise CodecError(f"a number longer than 10 bytes ends at byte {at}")
    except IndexError:
        raise CodecError(f"cut off inside a number at byte {at} of {len(data)}") from None


def to_int32(value: int) -> int:
    """An int32 field's value from the unsigned number on the wire."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def to_int64(value: int) -> int:
    """An int64 field's value from the unsigned number on the wire."""
    return value - (1 << 64) if value >> 63 else value


def write_varint(out: bytearray, value: int) -> None:
    """Append a number; negative ones take ten bytes, as in every protobuf int32 and int64."""
    if value < 0:
        value &= _U64
    while value >= _CONTINUES:
        out.append((value & 0x7F) | _CONTINUES)
        value >>= 7
    out.append(value)


def write_int(out: bytearray, field: int, value: int) -> None:
    """Append an integer (or bool) field, unless it is 0."""
    if value:
        write_varint(out, field << 3)
        write_varint(out, value)


def write_bytes(out: bytearray, field: int, value: bytes) -> None:
    """Append a bytes field, or an embedded message that has content; nothing when empty."""
    if value:
        write_varint(out, field << 3 | _BYTES)
        write_varint(out, len(value))
        out += value


def write_string(out: bytearray, field: int, value: str) -> None:
    """Append a string field, unless it is empty."""
    if value:
        write_bytes(out, field, value.encode())


def write_timestamp(out: bytearray, field: int, seconds: float) -> None:
    """Append a `google.protobuf.Timestamp` of Unix seconds, to the whole second."""
    inner = bytearray()
    write_int(inner, 1, int(seconds))
    write_varint(out, field << 3 | _BYTES)
    write_varint(out, len(inner))
    out += inner


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Each field of any message as (number, value): unsigned for numbers, bytes for everything else."""
    at = 0
    while at < len(data):
        tag, start = read_varint(data, at)
        at = _skip(data, start, tag)
        if tag & 7 == _VARINT:
            yield tag >> 3, read_varint(data, start)[0]
        elif tag & 7 == _BYTES:
            yield tag >> 3, data[read_varint(data, start)[1] : at]
        else:
            yield tag >> 3, data[start:at]


def _skip(data: bytes, at: int, tag: int) -> int:
    """Where the field's value that begins at `at` ends."""
    kind = tag & 7
    if not tag >> 3:
        raise CodecError(f"field number 0 before byte {at}")
    if kind == _VARINT:
        return read_varint(data, at)[1]
    if kind == _BYTES:
        size, at = read_varint(data, at)
        at += size
    elif kind == _FIXED64:
        at += 8
    elif kind == _FIXED32:
        at += 4
    else:
        raise CodecError(f"unsupported wire type {kind} before byte {at}")
    if at > len(data):
        raise _overrun(tag >> 3, at, len(data))
    return at


def _overrun(field: int, stop: int, end: int) -> CodecError:
    return CodecError(f"cut off: field {field} ends at byte {stop}, the message at {end}")


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """A map of headers as `TaskMessage.headers` holds it, in sorted order."""
    out = bytearray()
    for key in sorted(headers):
        entry = bytearray()
        write_string(entry, 1, key)
        write_string(entry, 2, headers[key])
        write_varint(out, _HEADERS_TAG)
        write_varint(out, len(entry))
        out += entry
    return bytes(out)


def decode_headers(raw: bytes) -> dict[str, str]:
    """What `encode_headers` encoded. Raises `CodecError` on anything else."""
    headers = {}
    for _, entry in read_fields(raw):
        if not isinstance(entry, bytes):
            raise CodecError("a header entry is not a message")
        parts = dict(read_fields(entry))
        key, value = parts.get(1, b""), parts.get(2, b"")
        if not isinstance(key, bytes) or not isinstance(value, bytes):
            raise CodecError("a header's key and value must be strings")
        headers[key.decode()] = value.decode()
    return headers


def decode_message(data: bytes) -> TaskMessage:
    """Decode a task. Accepts any field order; the last of repeated fields wins. Raises `CodecError`."""
    values = _EMPTY.copy()
    headers = unknown = b""
    at = 0
    end = len(data)
    try:
        while at < end:
            start = at
            tag = data[at]
            value = data[at + 1]
            at += 2
            if tag in _LENGTH_TAGS:
                if value >= _CONTINUES:
                    value, at = read_varint(data, at - 1)
                stop = at + value
                if stop > end:
                    raise _overrun(tag >> 3, stop, end)
                if tag == _HEADERS_TAG:
                    headers += data[start:stop]
                else:
                    values[tag >> 3] = data[at:stop]
                at = stop
            elif tag in _NUMBER_TAGS:
                if value >= _CONTINUES:
                    value, at = read_varint(data, at - 1)
                    value = to_int32(value) if tag in _INT32_TAGS else to_int64(value)
                values[tag >> 3] = value
            else:
                number, at = read_varint(data, start)
                at = _skip(data, at, number)
                unknown += data[start:at]
    except IndexError:
        raise CodecError(f"cut off after byte {end}") from None
    _, kind, payload, task_id, queue, retry, retried, error, timeout, deadline = values[:10]
    unique, failed, retention, completed, group = values[10:]
    try:
        return TaskMessage(
            kind.decode(),
            payload,
            task_id.decode(),
            queue.decode(),
            retry,
            retried,
            error.decode(),
            timeout,
            deadline,
            unique.decode(),
            failed,
            retention,
            completed,
            group.decode(),
            headers,
            unknown,
        )
    except UnicodeDecodeError as reason:
        raise CodecError(f"a string field is not valid UTF-8: {reason.reason}") from None


def encode_message(message: TaskMessage) -> bytes:
    """Encode a task, fields in ascending order, unknown ones last."""
    out = bytearray()
    write_string(out, 1, message.type)
    write_bytes(out, 2, message.payload)
    write_string(out, 3, message.id)
    write_string(out, 4, message.queue)
    write_int(out, 5, message.retry)
    write_int(out, 6, message.retried)
    write_string(out, 7, message.error_msg)
    write_int(out, 8, message.timeout)
    write_int(out, 9, message.deadline)
    write_string(out, 10, message.unique_key)
    write_int(out, 11, message.last_failed_at)
    write_int(out, 12, message.retention)
    write_int(out, COMPLETED_AT, message.completed_at)
    write_string(out, 14, message.group_key)
    out += message.headers
    out += message.unknown
    return bytes(out)
