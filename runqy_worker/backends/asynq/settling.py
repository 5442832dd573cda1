"""Writes outcomes: one script call per queue for everything that ended together."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

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
_MOST_BYTES = 1 << 20
"""Bytes of messages and results per script call, and per write: each must get through within one reply's time.

No Redis can be told to take less in one piece (`proto-max-bulk-len`)."""
_TRIES_ALONE = 5
"""Connections that one outcome may break before it is given up."""
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
        self._broke: Counter[Task] = Counter()

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write all outcomes. False where the token was void.

        Several releases of one queue go to the front in their order: the first is claimed first.
        """
        now = self._clock.server_time()
        whole = int(now)
        head: list[Arg] = [whole, int(now * 1e9), whole + _STATS_TTL, self._lifecycle.archive_limit]
        calls: list[_Call] = []
        for queue, indexes in _by_queue([settlement.task for settlement in settlements]):
            parts = [_Call(queue, head)]
            for index in indexes:
                call = parts[-1]
                before = len(call.args)
                size = self._append(call.args, settlements[index], whole, now)
                if call.part and (call.size + size > _MOST_BYTES or len(call.part) == _MOST_PER_CALL):
                    words = call.args[before:]
                    del call.args[before:]
                    call = _Call(queue, [*head, *words])
                    parts.append(call)
                call.part.append(index)
                call.size += size
            # The last ones first: each call puts its releases in front of those of the call before.
            calls += reversed(parts)
        if any(call.size > _MOST_BYTES for call in calls):
            calls.sort(key=lambda call: call.size > _MOST_BYTES)  # what may not get through holds up no others
        flags: list[bool | None] = [None] * len(settlements)
        try:
            for group in _writes(calls):
                commands = [self._settle.command(self._names(call.queue, whole), call.args) for call in group]
                places = [(call.queue, call.part) for call in group]
                if group[0].size > _MOST_BYTES:
                    await self._send_alone(commands, places, flags, settlements[group[0].part[0]].task, group[0].size)
                else:
                    await self._send(self._link, commands, places, flags, refused=False)
        except BackendUnavailableError:
            for settlement, flag in zip(settlements, flags, strict=True):
                settlement.accepted = flag
            raise
        return [bool(flag) for flag in flags]

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
        flags: list[bool | None] = [None]
        await self._send(self._link, [command], [(queue, [0])], flags, refused=False)
        return bool(flags[0])

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
        flags: list[bool | None] = [None] * len(tasks)
        if commands:
            await self._send(self._renewals, commands, places, flags, refused=True)
        return [bool(flag) for flag in flags]

    async def _send_alone(
        self, commands: list[tuple[Arg, ...]], places: list[_Part], flags: list[bool | None], task: Task, size: int
    ) -> None:
        """Send the large outcome of one task; archive the task without it when that breaks each connection anew.

        Redis hangs up on what is longer than its `proto-max-bulk-len`, and a slow network may never get it through
        in time. An outage is something else: then nothing can be sent before, or nothing is answered after.
        """
        await self._link.connect()
        try:
            replies = await self._link.pipeline(commands, keep_errors=True)
        except BackendUnavailableError as error:
            await self._link.call("PING")
            self._broke[task] += 1
            if self._broke[task] < _TRIES_ALONE:
                raise
            reason = f"its outcome of {size} bytes cannot be sent: {error}"
            [(_, [place])] = places
            flags[place] = await self.archive_unreadable(task.queue, task.id.encode(), task.token, reason)
            if flags[place]:
                self._standing.give_up(task, reason)
        else:
            await self._read(self._link, replies, places, flags, refused=False)
        self._broke.pop(task, None)

    async def _send(
        self,
        link: Link,
        commands: list[tuple[Arg, ...]],
        places: list[_Part],
        flags: list[bool | None],
        *,
        refused: bool,
    ) -> None:
        """Send the commands, and read the replies."""
        await self._read(link, await link.pipeline(commands, keep_errors=True), places, flags, refused=refused)

    async def _read(
        self, link: Link, replies: list[Any], places: list[_Part], flags: list[bool | None], *, refused: bool
    ) -> None:
        """Put the characters of the replies where they belong among the flags.

        What Redis refuses, because of a key of the wrong type, say, is told, and keeps no other queue's tasks from
        being written. Its own get the flag `refused`: nobody can have taken them, and outcomes can't be kept for ever.
        """
        unavailable: BackendUnavailableError | None = None
        for (queue, part), reply in zip(places, replies, strict=True):
            if isinstance(reply, BackendUnavailableError):
                unavailable = reply
                continue
            if isinstance(reply, BackendError):
                error = await explain(link, self._keys_of(queue), reply)
                self._standing.refuse(queue, error, outcomes=0 if refused else len(part))
                for index in part:
                    flags[index] = refused
                continue
            for index, flag in zip(part, reply, strict=True):
                flags[index] = flag == _WRITTEN
        if unavailable is not None:
            raise unavailable

    def _names(self, queue: str, now: int) -> tuple[str, ...]:
        keys = self._keys_of(queue)
        day = day_of(now)
        return (
            *(keys.pending, keys.active, keys.lease, keys.retry, keys.archived, keys.completed),
            *(keys.processed, keys.failed, keys.processed_on(day), keys.failed_on(day)),
            keys.task_prefix,
        )

    def _append(self, args: list[Arg], settlement: Settlement, now: int, precisely: float) -> int:
        """Add one task's words, as the script reads them. Returns the size of those that may be large."""
        task = settlement.task
        record = task.record
        if not isinstance(record, Record):
            raise TypeError(f"task {task.id} was not claimed from this backend")
        action = settlement.action
        if action is Action.COMPLETE:
            return self._append_completed(args, settlement, record, now)
        if action is Action.RETRY:
            retried = task.retried + 1 if settlement.counted else task.retried
            delay = settlement.retry_at - self._clock.time()
            at = f"{precisely + delay:.3f}" if delay > 0 else ""
            msg = _failed(record, retried, settlement.error, now)
            args += ("R", task.id, task.token, msg, at, int(settlement.counted), int(settlement.death))
            return len(msg)
        if action is Action.ARCHIVE:
            error = _clean(settlement.error)
            msg = _failed(record, task.retried, error, now)
            args += ("A", task.id, task.token, msg, error)
            return len(msg) + len(error)
        if action is Action.RELEASE:
            since = b"" if settlement.rerun else record.pending_since
            args += ("L", task.id, task.token, since, int(settlement.rerun))
        else:
            args += ("D", task.id, task.token, record.limits.unique_key)
        return 0

    def _append_completed(self, args: list[Arg], settlement: Settlement, record: Record, now: int) -> int:
        task = settlement.task
        message = record.limits
        retention = retention_of(record, self._lifecycle)
        if not retention:
            args += ("D", task.id, task.token, message.unique_key)
            return 0
        msg = completed_message(record, retention, now)
        purge_at = now + retention
        if settlement.result is None or not self.store_result:
            args += ("C", task.id, task.token, message.unique_key, msg, purge_at)
            return len(msg)
        result = guard_result(settlement.result)
        args += ("K", task.id, task.token, message.unique_key, msg, purge_at, result)
        return len(msg) + len(result)


class _Call:
    """One script call.

    Attributes:
        args: Its words.
        part: The places in the batch that it is about.
        size: Bytes of the words that may be large.
    """

    __slots__ = ("args", "part", "queue", "size")

    def __init__(self, queue: str, args: Sequence[Arg]) -> None:
        self.queue = queue
        self.args = list(args)
        self.part: list[int] = []
        self.size = 0


def _writes(calls: Sequence[_Call]) -> list[list[_Call]]:
    """The calls in groups that are sent in one write each: all together, unless they are large."""
    groups: list[list[_Call]] = []
    left = 0
    for call in calls:
        if not groups or call.size > left:
            groups.append([])
            left = _MOST_BYTES
        groups[-1].append(call)
        left -= call.size
    return groups


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
