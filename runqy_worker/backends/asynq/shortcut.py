"""The quick way to read a task: what tells tasks apart stands first, and the rest is the same for most of them.

Clients write a message's fields in ascending order: type, payload and id, then queue, limits and what else there is.
Of most tasks of a queue that rest is byte for byte the same, so it is decoded once.
"""

from __future__ import annotations

from runqy_worker.backends.asynq.codec import CodecError, TaskMessage, decode_message, read_fields, read_varint

_TYPE_TAG, _PAYLOAD_TAG, _ID_TAG = (number << 3 | 2 for number in (1, 2, 3))
_LAST_OWN_FIELD = 3
_CONTINUES = 0x80
_MOST = 1024
_LONGEST = 256

_known: dict[bytes, TaskMessage] = {}


def read_quickly(data: bytes, task_id: bytes) -> tuple[str, bytes, TaskMessage] | None:
    """Type, payload, and a message that holds the other fields except the id, which belongs to many tasks: don't write.

    None when the message is not this task's, or does not look as most do; `decode_message` then says what it is, or
    what is wrong with it.
    """
    try:
        size = data[1]
        at = 2 + size
        if data[0] != _TYPE_TAG or size >= _CONTINUES:
            return None
        kind = data[2:at].decode()
        payload = b""
        if data[at] == _PAYLOAD_TAG:
            size = data[at + 1]
            at += 2
            if size >= _CONTINUES:
                size, at = read_varint(data, at - 1)
            payload = data[at : at + size]
            at += size
        size = data[at + 1]
        if data[at] != _ID_TAG or size >= _CONTINUES:
            return None
        at += 2 + size
        if data[at - size : at] != task_id:
            return None
        rest = data[at:]
        message = _known.get(rest) or _learn(rest)
    except (IndexError, UnicodeDecodeError, CodecError):
        return None
    return None if message is None else (kind, payload, message)


def _learn(rest: bytes) -> TaskMessage | None:
    if any(number <= _LAST_OWN_FIELD for number, _ in read_fields(rest)):
        return None
    message = decode_message(rest)
    own = message.unique_key or message.error_msg or message.headers or message.unknown
    if not own and len(rest) <= _LONGEST:
        if len(_known) >= _MOST:
            _known.clear()
        _known[rest] = message
    return message
