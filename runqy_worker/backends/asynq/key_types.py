"""What type each key of a queue must have, and which have another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.errors import BackendError

if TYPE_CHECKING:
    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link

_TYPES = {
    "pending": b"list",
    "active": b"list",
    "lease": b"zset",
    "scheduled": b"zset",
    "retry": b"zset",
    "archived": b"zset",
    "completed": b"zset",
    "groups": b"set",
    "processed": b"string",
    "failed": b"string",
    "steward": b"string",
}
_ABSENT = b"none"


async def explain(link: Link, keys: QueueKeys, error: BackendError) -> BackendError:
    """An error that names the keys of the queue that have the wrong type, if that is what is wrong; else the same.

    Raises:
        BackendUnavailableError: Redis can't be reached now.
    """
    names = [keys.prefix + name for name in _TYPES]
    found = await link.pipeline([("TYPE", name) for name in names])
    wrong = [
        f"{name} is a {kind.decode()}, not a {expected.decode()}"
        for name, kind, expected in zip(names, found, _TYPES.values(), strict=True)
        if kind not in {expected, _ABSENT}
    ]
    return BackendError("; ".join(wrong)) if wrong else error
