"""Second looks at claimed tasks that are not as asynq stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.codec import encode_message
from runqy_worker.backends.asynq.records import Record
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.settling import Settler
    from runqy_worker.domain.events import Listener
    from runqy_worker.domain.task import Task


class Repairs:
    """Writes a message for tasks that came as plain fields, and archives those whose message can't be read."""

    def __init__(self, keys_of: Callable[[str], QueueKeys], link: Link, settler: Settler, listener: Listener) -> None:
        self._keys_of = keys_of
        self._link = link
        self._settler = settler
        self._listener = listener
        self._set_message = load("set_message")
        self._plain: list[Task] = []
        self._unreadable: list[tuple[str, bytes, str, str]] = []

    def add_plain(self, task: Task) -> None:
        """This task has no message yet."""
        self._plain.append(task)

    def add_unreadable(self, queue: str, task_id: bytes, token: str, reason: str) -> None:
        """This claimed task's message can't be decoded."""
        self._unreadable.append((queue, task_id, token, f"the task's message cannot be read: {reason}"))

    def tell_dropped(self, queue: str, ids: Sequence[bytes]) -> None:
        """The claim removed ids that have no task behind them."""
        shown = [ident.decode(errors="replace") for ident in ids[:5]]
        self._listener.notice(
            Notice(
                "task_missing",
                f"Queue {queue} listed {len(ids)} ids without a task behind them; they were removed.",
                Level.WARNING,
                fields={"queue": queue, "ids": shown, "count": len(ids)},
            )
        )

    async def run(self) -> None:
        """Do what was added. An outage only postpones it: the leases lapse, and the next claim meets them again."""
        plain, self._plain = self._plain, []
        unreadable, self._unreadable = self._unreadable, []
        try:
            if plain:
                await self._link.pipeline([self._message_for(task) for task in plain])
            for queue, task_id, token, reason in unreadable:
                if await self._settler.archive_unreadable(queue, task_id, token, reason):
                    name = task_id.decode(errors="replace")
                    text = f"Task {name} of queue {queue} was archived: {reason}"
                    fields = {"queue": queue, "task_id": name}
                    self._listener.notice(Notice("task_unreadable", text, Level.ERROR, fields=fields))
        except BackendUnavailableError as error:
            self._listener.notice(Notice("repair_postponed", f"Repairs wait for redis: {error}", Level.DEBUG))

    def _message_for(self, task: Task) -> tuple[str | bytes | float, ...]:
        record = task.record
        assert isinstance(record, Record)  # noqa: S101 - only tasks of this backend come here
        key = self._keys_of(task.queue).task(task.id)
        return self._set_message.command((key,), (task.token, encode_message(record.message)))
