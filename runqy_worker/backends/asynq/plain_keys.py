"""The oldest documented form of tasks, served beside the proper one.

Producers of that form push an id to the list `asynq:<queue>:pending` (no braces) and describe the task in the hash
`asynq:t:<id>` (`type`, `payload`, `max_retry` or `retry`, `timeout`); they read the result from the string
`asynq:result:<id>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.codec import TaskMessage, encode_message
from runqy_worker.backends.asynq.keys import QUEUES, lookup_key
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.errors import BackendError
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.domain.events import Listener

_BATCH = 100
_EVERY = 1.0
_DEFAULT_KEEP = 86400
_DEFAULT_TIMEOUT = 1800
_MOST_DIGITS = 18
"""What is longer is no number that fits anywhere."""
_DONE = frozenset({b"completed", b"archived"})


def plain_pending(queue: str) -> str:
    """The list that producers of the oldest form push ids to."""
    return f"asynq:{queue}:pending"


def plain_result(task_id: str) -> str:
    """The string that they read the result from."""
    return f"asynq:result:{task_id}"


class PlainKeys:
    """The chore: moves such tasks into the proper form, and copies results to where their producers look.

    Args:
        max_retry: For tasks that don't say.
        keep: Seconds to keep a completed task and its result; None or 0 means one day, since the result must live
            long enough to be copied and read.
    """

    def __init__(
        self,
        keys: Sequence[QueueKeys],
        link: Link,
        *,
        max_retry: int,
        keep: float | None,
        listener: Listener,
        rng: random.Random,
    ) -> None:
        self._keys = keys
        self._link = link
        self._max_retry = max_retry
        self._keep = int(keep or _DEFAULT_KEEP)
        self._listener = listener
        self._rng = rng
        self._adopt = load("adopt_plain")
        self._announced = False
        self._refused: dict[QueueKeys, str] = {}

    async def run(self) -> float:
        """Adopt what is waiting and mirror what is done. Returns seconds until the next look."""
        replies = await self._link.ask(
            [("LRANGE", plain_pending(keys.queue), -_BATCH, -1) for keys in self._keys]
            + [("SRANDMEMBER", _watched(keys), _BATCH) for keys in self._keys]
        )
        more = False
        for keys, ids, watched in zip(self._keys, replies, replies[len(self._keys) :], strict=False):
            refused = next((reply for reply in (ids, watched) if isinstance(reply, BackendError)), None)
            if refused is None and ids:
                refused = await self._adopt_all(keys, ids[::-1])  # the oldest is at the right end
            if refused is None and watched:
                await self._mirror_all(keys, watched)
            self._tell_refused(keys, str(refused or ""))
            more = more or (refused is None and len(ids) == _BATCH)
        return 0.0 if more else _EVERY * self._rng.uniform(0.8, 1.2)

    async def _adopt_all(self, keys: QueueKeys, ids: list[bytes]) -> BackendError | None:
        """Move tasks over, oldest first. Each is moved by one script, so that it is always in one of the lists.

        Returns what Redis refused, if anything. What can't be a task leaves the list.
        """
        if not self._announced:
            await self._link.pipeline([("SADD", QUEUES, each.queue) for each in self._keys])
            self._announced = True
        commands: list[tuple[Arg, ...]] = []
        reasons = []
        hashes = await self._link.ask([("HGETALL", _lookup(task_id)) for task_id in ids])
        for task_id, flat in zip(ids, hashes, strict=True):
            why, fields = "", {}
            if isinstance(flat, BackendError):
                if "WRONGTYPE" not in str(flat):
                    return flat
                why = f"has no hash: {flat}"
            else:
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                if not fields.get(b"type") and b"payload" not in fields:
                    why = f"has no hash {_shown(_lookup(task_id))}"
                elif _shown(task_id).encode() != task_id:  # the proper form has no room for it
                    why = "has an id that is not valid UTF-8"
            reasons.append(why)
            commands.append(
                ("LREM", plain_pending(keys.queue), -1, task_id)
                if why
                else self._command(keys, task_id.decode(), fields)
            )
        refused = None
        for task_id, why, done in zip(ids, reasons, await self._link.ask(commands), strict=True):
            if isinstance(done, BackendError):
                refused = done
            elif why or done < 0:
                self._tell("plain_task_dropped", why or "has an id that is in use", keys, _shown(task_id))
        return refused

    def _command(self, keys: QueueKeys, name: str, fields: dict[bytes, bytes]) -> tuple[Arg, ...]:
        message = TaskMessage(
            type=fields.get(b"type", b"").decode(errors="replace") or keys.queue,
            payload=fields.get(b"payload", b""),
            id=name,
            queue=keys.queue,
            retry=_number(fields, b"max_retry", _number(fields, b"retry", self._max_retry)),
            retried=_number(fields, b"retried", 0),
            timeout=_number(fields, b"timeout", _DEFAULT_TIMEOUT),
            deadline=_number(fields, b"deadline", 0),
            retention=self._keep,
        )
        names = (plain_pending(keys.queue), keys.task(name), keys.pending, lookup_key(name), _watched(keys))
        return self._adopt.command(names, (name, encode_message(message), keys.queue, self._keep))

    async def _mirror_all(self, keys: QueueKeys, ids: list[bytes]) -> None:
        """Copy the results of tasks that are done; forget those that are gone."""
        prefix = keys.task_prefix.encode()
        states = await self._link.ask([("HMGET", prefix + task_id, "state", "result") for task_id in ids])
        commands: list[tuple[Arg, ...]] = []
        for task_id, found in zip(ids, states, strict=True):
            state, result = (None, None) if isinstance(found, BackendError) else found
            if state is None or state in _DONE:
                if result is not None:
                    commands.append(("SET", plain_result("").encode() + task_id, result, "EX", self._keep))
                commands.append(("SREM", _watched(keys), task_id))
        if commands:
            await self._link.pipeline(commands)

    def _tell_refused(self, keys: QueueKeys, why: str) -> None:
        """Once, until it says something else or is over."""
        if why and self._refused.get(keys) != why:
            text = f"Tasks in {plain_pending(keys.queue)} wait until this is mended: {why}"
            fields = {"chore": "plain_keys", "queue": keys.queue}
            self._listener.notice(Notice("chore_failed", text, Level.ERROR, fields=fields))
        self._refused[keys] = why

    def _tell(self, action: str, why: str, keys: QueueKeys, name: str) -> None:
        fields = {"queue": keys.queue, "ids": [name]}
        text = f"Task {name} in {plain_pending(keys.queue)} {why}; it was removed from the list."
        self._listener.notice(Notice(action, text, Level.WARNING, fields=fields))


def _lookup(task_id: bytes) -> bytes:
    """The hash that describes it."""
    return lookup_key("").encode() + task_id


def _shown(name: bytes) -> str:
    return name.decode(errors="replace")


def _watched(keys: QueueKeys) -> str:
    """Ids of adopted tasks whose result is still to be copied."""
    return f"{keys.prefix}plain"


def _number(fields: dict[bytes, bytes], name: bytes, default: int) -> int:
    text = fields.get(name, b"").strip()
    return int(text) if text.isdigit() and len(text) <= _MOST_DIGITS else default
