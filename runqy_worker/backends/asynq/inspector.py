"""Looks at queues and tasks, and does to them what asynq's inspector does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.codec import CodecError
from runqy_worker.backends.asynq.keys import CANCEL_CHANNEL, QUEUES, SERVERS, QueueKeys, lookup_key
from runqy_worker.backends.asynq.queue_info import commands_for, read_queue
from runqy_worker.backends.asynq.refusals import QueueNotFoundError, TaskNotFoundError, TaskStateError
from runqy_worker.backends.asynq.registry import queues_of
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.backends.asynq.task_info import FIELDS, read_task
from runqy_worker.domain.errors import BackendError

if TYPE_CHECKING:
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.queue_info import QueueInfo
    from runqy_worker.backends.asynq.task_info import TaskInfo
    from runqy_worker.domain.clock import Clock

LISTED_STATES = ("pending", "active", "scheduled", "retry", "archived", "completed")
_FIRST_LOOK = 0.01
_SLOWEST_LOOK = 0.25
_GROWTH = 1.5


class AsynqInspector:
    """Operations on queues and single tasks, over one connection.

    Every coroutine may raise `BackendUnavailableError`.
    """

    def __init__(self, link: Link, *, clock: Clock) -> None:
        self._link = link
        self._clock = clock

    async def queue_names(self) -> list[str]:
        """All queues, sorted."""
        return sorted(name.decode() for name in await self._link.call("SMEMBERS", QUEUES))

    async def served_queues(self) -> set[str]:
        """The queues that live workers work on, ours and asynq's own."""
        servers = await self._link.call("ZRANGEBYSCORE", SERVERS, int(self._clock.time()), "+inf")
        infos = await self._link.call("MGET", *servers) if servers else ()
        return {queue for info in infos if info for queue in queues_of(info)}

    async def queues(self) -> list[QueueInfo]:
        """The figures of all queues, sorted by name."""
        return await self._figures(await self.queue_names())

    async def queue(self, queue: str) -> QueueInfo:
        """The figures of one queue.

        Raises:
            QueueNotFoundError: Redis knows no such queue.
        """
        await self._check_queue(queue)
        return (await self._figures([queue]))[0]

    async def pause(self, queue: str) -> bool:
        """Let nothing more be claimed. False when it was paused already. Raises `QueueNotFoundError`."""
        await self._check_queue(queue)
        done = await self._link.call("SET", QueueKeys(queue).paused, int(self._clock.time()), "NX")
        return done is not None

    async def unpause(self, queue: str) -> bool:
        """Undo `pause`. False when it wasn't paused. Raises `QueueNotFoundError`."""
        await self._check_queue(queue)
        return bool(await self._link.call("DEL", QueueKeys(queue).paused))

    async def get_task(self, task_id: str, queue: str | None = None) -> TaskInfo:
        """One task. Without `queue`, it is looked for in all of them.

        Raises:
            TaskNotFoundError: There is no such task.
            BackendError: Its message can't be read.
        """
        keys = QueueKeys(queue or await self._find(task_id))
        values, scheduled, retry = await self._link.pipeline(
            [
                ("HMGET", keys.task(task_id), *FIELDS),
                ("ZSCORE", keys.scheduled, task_id),
                ("ZSCORE", keys.retry, task_id),
            ]
        )
        if values[0] is None and values[1] is None:
            raise TaskNotFoundError(task_id, queue)
        try:
            return read_task(task_id, keys.queue, values, scheduled or retry)
        except CodecError as error:
            raise BackendError(f"{keys.task(task_id)}: field msg can't be read: {error}") from None

    async def list_tasks(self, queue: str, state: str, *, limit: int = 30, offset: int = 0) -> list[TaskInfo]:
        """Tasks in one of `LISTED_STATES`, those first whose turn is next. Unreadable ones are left out.

        Raises:
            QueueNotFoundError: Redis knows no such queue.
            ValueError: There is no such state.
        """
        if state not in LISTED_STATES:
            raise ValueError(f"state: got {state!r}, expected one of {', '.join(LISTED_STATES)}")
        await self._check_queue(queue)
        keys = QueueKeys(queue)
        name = keys.prefix + state
        if state in {"pending", "active"}:
            found = await self._link.call("LRANGE", name, -offset - limit, -offset - 1)
            ids = [task_id.decode(errors="replace") for task_id in reversed(found)]
            scores: list[bytes | None] = [None] * len(ids)
        else:
            found = await self._link.call("ZRANGE", name, offset, offset + limit - 1, "WITHSCORES")
            ids = [task_id.decode(errors="replace") for task_id in found[::2]]
            scores = found[1::2] if state in {"scheduled", "retry"} else [None] * len(ids)
        hashes = await self._link.pipeline([("HMGET", keys.task(task_id), *FIELDS) for task_id in ids]) if ids else []
        tasks = []
        for task_id, values, score in zip(ids, hashes, scores, strict=True):
            if values[0] is not None:
                try:
                    tasks.append(read_task(task_id, queue, values, score))
                except CodecError:
                    continue
        return tasks

    async def wait_result(self, task_id: str, queue: str | None = None, *, timeout: float) -> TaskInfo:  # noqa: ASYNC109 - what was last seen is returned at the end
        """Wait until the task has ended, and return it.

        Args:
            task_id: The task.
            queue: Where it is, if known.
            timeout: Seconds to wait; afterwards the task is returned as it is then (see `TaskInfo.finished`).

        Raises:
            TaskNotFoundError: There is no such task (any more): without retention, it is deleted when it completes.
        """
        queue = queue or await self._find(task_id)
        ends = self._clock.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            task = await self.get_task(task_id, queue)
            left = ends - self._clock.monotonic()
            if task.finished or left <= 0:
                return task
            await asyncio.sleep(min(pause, left))
            pause = min(pause * _GROWTH, _SLOWEST_LOOK)

    async def cancel(self, task_id: str) -> int:
        """Ask whoever runs the task to end it. Returns how many workers heard it."""
        heard: int = await self._link.call("PUBLISH", CANCEL_CHANNEL, task_id)
        return heard

    async def run_now(self, task_id: str, queue: str | None = None) -> str:
        """Make a task pending at once; also an archived or completed one. Returns the state that it was in.

        Raises:
            TaskNotFoundError: There is no such task.
            TaskStateError: It is pending or running already.
        """
        return await self._move(task_id, queue, "run")

    async def archive(self, task_id: str, queue: str | None = None) -> str:
        """Keep a task from running. Returns the state that it was in.

        Raises:
            TaskNotFoundError: There is no such task.
            TaskStateError: It is running, or archived already.
        """
        return await self._move(task_id, queue, "archive")

    async def delete(self, task_id: str, queue: str | None = None) -> str:
        """Delete a task and release its lock. Returns the state that it was in.

        Raises:
            TaskNotFoundError: There is no such task.
            TaskStateError: It is running.
        """
        return await self._move(task_id, queue, "delete")

    async def _move(self, task_id: str, queue: str | None, verb: str) -> str:
        keys = QueueKeys(queue or await self._find(task_id))
        command = load("move_task").command(
            (
                *(keys.task(task_id), keys.pending, keys.scheduled, keys.retry),
                *(keys.archived, keys.completed, keys.groups, keys.active, keys.lease),
            ),
            (task_id, verb, keys.group(""), keys.queue),
        )
        answer: bytes = await self._link.call(*command)
        state = answer.decode()
        if not state:
            raise TaskNotFoundError(task_id, queue)
        if state == "active":
            raise TaskStateError(task_id, state, "cancel it first, or wait until it ends")
        if (verb, state) in {("run", "pending"), ("archive", "archived")}:
            raise TaskStateError(task_id, state, "nothing to do")
        return state

    async def _find(self, task_id: str) -> str:
        """The queue of a task: where the record says, else whichever has it."""
        named, queues = await self._link.pipeline([("HGET", lookup_key(task_id), "queue"), ("SMEMBERS", QUEUES)])
        names: list[str] = sorted(name.decode() for name in queues)
        if named is not None:
            names.insert(0, named.decode())
        if names:
            found = await self._link.pipeline([("EXISTS", QueueKeys(name).task(task_id)) for name in names])
            for name, exists in zip(names, found, strict=True):
                if exists:
                    return name
        raise TaskNotFoundError(task_id)

    async def _check_queue(self, queue: str) -> None:
        if not await self._link.call("SISMEMBER", QUEUES, queue):
            raise QueueNotFoundError(queue)

    async def _figures(self, names: list[str]) -> list[QueueInfo]:
        now = self._clock.time()
        asked = [commands_for(QueueKeys(name), now) for name in names]
        if not asked:
            return []
        size = len(asked[0])
        replies = await self._link.pipeline([command for commands in asked for command in commands])
        parts = [replies[at : at + size] for at in range(0, len(replies), size)]
        oldest = [part[-1] for part in parts]
        since = await self._link.pipeline(
            [
                ("HGET", QueueKeys(name).task_prefix.encode() + (task_id or b""), "pending_since")
                for name, task_id in zip(names, oldest, strict=True)
            ]
        )
        return [read_queue(*facts, now) for facts in zip(names, parts, since, strict=True)]
