"""Writes outcomes: one script call per queue for everything that ended together."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from runqy_worker.backends.asynq.codec import encode_message
from runqy_worker.backends.asynq.key_types import explain
from runqy_worker.backends.asynq.keys import day_of
from runqy_worker.backends.asynq.records import Record, completed_message, guard_result, retention_of
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.errors import BackendError, BackendUnavailableError
from runqy_worker.domain.settlement import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.standing import Standing
    from runqy_worker.config.model import LifecycleConfig
    from runqy_worker.domain.clock import SharedClock
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task

_STATS_TTL = 90 * 86400
_MOST_PER_CALL = 500
"""Tasks per script call: Redis does nothing else meanwhile."""
_WRITTEN = ord("1")

_Part: TypeAlias = "tuple[str, list[int]]"
"""A queue, and the places in a batch that one command is about."""


class Settler:
    """Settles and renews.

    Args:
        keys_of: The keys of a queue, also of one that is no longer served.
        link: For settlements.
        renewals: For renewals, so that neither waits for the other.
        lease_seconds: How long a renewed lease lasts.
        standing: Hears which queues Redis refuses to write to.
        clock: Settlements are written in the server's time, which others judge them by.

    Attributes:
        store_result: Whether results are written.
    """

    def __init__(
        self,
        keys_of: Callable[[str], QueueKeys],
        link: Link,
        renewals: Link,
        *,
        lease_seconds: float,
        lifecycle: LifecycleConfig,
        standing: Standing,
        clock: SharedClock,
        store_result: bool,
    ) -> None:
        self.store_result = store_result
        self._keys_of = keys_of
        self._link = link
        self._renewals = renewals
        self._lease_ms = int(lease_seconds * 1000)
        self._lifecycle = lifecycle
        self._standing = standing
        self._clock = clock
        self._settle = load("settle")
        self._renew = load("renew")

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write all outcomes. False where the token was void.

        Several releases of one queue go to the front in their order: the first is claimed first.
        """
        now = self._clock.server_time()
        whole = int(now)
        head: list[Arg] = [whole, int(now * 1e9), whole + _STATS_TTL, self._lifecycle.archive_limit]
        commands = []
        places: list[_Part] = []
        for queue, indexes in _by_queue([settlement.task for settlement in settlements]):
            # The last ones first: each call puts its releases in front of those of the call before.
            for at in reversed(range(0, len(indexes), _MOST_PER_CALL)):
                part = indexes[at : at + _MOST_PER_CALL]
                args = head.copy()
                for index in part:
                    self._append(args, settlements[index], whole, now)
                commands.append(self._settle.command(self._names(queue, whole), args))
                places.append((queue, part))
        return await self._send(self._link, commands, places, refused=False)

    async def archive_unreadable(self, queue: str, task_id: bytes, token: str, reason: str) -> bool:
        """Archive a claimed task whose message can't be read, leaving what is stored as it is."""
        now = self._clock.server_time()
        whole = int(now)
        command = self._settle.command(
            self._names(queue, whole),
            (
                *(whole, int(now * 1e9), whole + _STATS_TTL, self._lifecycle.archive_limit),
                *("A", task_id, token, "", reason),
            ),
        )
        return (await self._send(self._link, [command], [(queue, [0])], refused=False))[0]

    async def renew(self, tasks: Sequence[Task]) -> list[bool]:
        """Extend the leases. False where the token is void."""
        commands = []
        places = []
        for queue, indexes in _by_queue(tasks):
            keys = self._keys_of(queue)
            for at in range(0, len(indexes), _MOST_PER_CALL):
                part = indexes[at : at + _MOST_PER_CALL]
                args: list[Arg] = [self._lease_ms]
                for index in part:
                    args += (tasks[index].id, tasks[index].token)
                commands.append(self._renew.command((keys.lease, keys.task_prefix), args))
                places.append((queue, part))
        return await self._send(self._renewals, commands, places, refused=True)

    async def _send(
        self, link: Link, commands: list[tuple[Arg, ...]], places: list[_Part], *, refused: bool
    ) -> list[bool]:
        """Send the commands, and put the characters of their replies where they belong.

        What Redis refuses, because of a key of the wrong type, say, is told, and keeps no other queue's tasks from
        being written. Its own get the flag `refused`: nobody can have taken them, and outcomes can't be kept for ever.
        """
        if not commands:
            return []
        flags = [refused] * sum(len(part) for _, part in places)
        for (queue, part), reply in zip(places, await link.pipeline(commands, keep_errors=True), strict=True):
            if isinstance(reply, BackendUnavailableError):
                raise reply
            if isinstance(reply, BackendError):
                error = await explain(link, self._keys_of(queue), reply)
                self._standing.refuse(queue, error, outcomes=0 if refused else len(part))
                continue
            for index, flag in zip(part, reply, strict=True):
                flags[index] = flag == _WRITTEN
        return flags

    def _names(self, queue: str, now: int) -> tuple[str, ...]:
        keys = self._keys_of(queue)
        day = day_of(now)
        return (
            *(keys.pending, keys.active, keys.lease, keys.retry, keys.archived, keys.completed),
            *(keys.processed, keys.failed, keys.processed_on(day), keys.failed_on(day)),
            keys.task_prefix,
        )

    def _append(self, args: list[Arg], settlement: Settlement, now: int, precisely: float) -> None:
        """Add one task's words, as the script reads them."""
        task = settlement.task
        record = task.record
        if not isinstance(record, Record):
            raise TypeError(f"task {task.id} was not claimed from this backend")
        action = settlement.action
        if action is Action.COMPLETE:
            self._append_completed(args, settlement, record, now)
        elif action is Action.RETRY:
            retried = task.retried + 1 if settlement.counted else task.retried
            delay = settlement.retry_at - self._clock.time()
            at = f"{precisely + delay:.3f}" if delay > 0 else ""
            msg = _failed(record, retried, settlement.error, now)
            args += ("R", task.id, task.token, msg, at, int(settlement.counted), int(settlement.death))
        elif action is Action.ARCHIVE:
            error = _clean(settlement.error)
            args += ("A", task.id, task.token, _failed(record, task.retried, error, now), error)
        elif action is Action.RELEASE:
            since = b"" if settlement.rerun else record.pending_since
            args += ("L", task.id, task.token, since, int(settlement.rerun))
        else:
            args += ("D", task.id, task.token, record.limits.unique_key)

    def _append_completed(self, args: list[Arg], settlement: Settlement, record: Record, now: int) -> None:
        task = settlement.task
        message = record.limits
        retention = retention_of(record, self._lifecycle)
        if not retention:
            args += ("D", task.id, task.token, message.unique_key)
            return
        msg = completed_message(record, retention, now)
        purge_at = now + retention
        if settlement.result is None or not self.store_result:
            args += ("C", task.id, task.token, message.unique_key, msg, purge_at)
        else:
            result = guard_result(settlement.result)
            args += ("K", task.id, task.token, message.unique_key, msg, purge_at, result)


def _failed(record: Record, retried: int, error: str, now: int) -> bytes:
    message = record.message
    message.retried = retried
    message.error_msg = _clean(error)
    message.last_failed_at = now
    return encode_message(message)


def _clean(text: str) -> str:
    """Text that UTF-8 can carry: task code may send lone surrogates."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _by_queue(tasks: Sequence[Task]) -> list[tuple[str, list[int]]]:
    groups: dict[str, list[int]] = {}
    for index, task in enumerate(tasks):
        groups.setdefault(task.queue, []).append(index)
    return list(groups.items())
