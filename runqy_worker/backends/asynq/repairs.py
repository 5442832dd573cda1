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
    """Writes a message for tasks that lack one or have another's, and archives those whose message can't be read."""

    def __init__(self, keys_of: Callable[[str], QueueKeys], link: Link, settler: Settler, listener: Listener) -> None:
        self._keys_of = keys_of
        self._link = link
        self._settler = settler
        self._listener = listener
        self._set_message = load("set_message")
        self._unwritten: list[Task] = []
        self._misnamed: set[str] = set()
        self._unreadable: list[tuple[str, bytes, str, str]] = []

    def add_unwritten(self, task: Task, *, misnamed: bool) -> None:
        """This task has no message yet, or one that names another task or queue. Told once per queue."""
        self._unwritten.append(task)
        if misnamed and task.queue not in self._misnamed:
            self._misnamed.add(task.queue)
            text = "the task's message named another task or queue; it is corrected, like those of others of this queue"
            self._listener.notice(Notice("message_corrected", text, Level.WARNING, task))

    def add_unreadable(self, queue: str, task_id: bytes, token: str, reason: str) -> None:
        """This claimed task's message can't be decoded."""
        self._unreadable.append((queue, task_id, token, f"the task's message cannot be read: {reason}"))

    def tell_dropped(self, queue: str, ids: Sequence[bytes]) -> None:
        """The claim removed ids that have no task behind them."""
        self._tell("task_missing", queue, ids, "without a task behind them")

    def tell_doubled(self, queue: str, ids: Sequence[bytes]) -> None:
        """The claim removed ids from pending whose tasks are elsewhere."""
        self._tell("task_doubled", queue, ids, "of tasks that are running, waiting or kept elsewhere")

    def _tell(self, action: str, queue: str, ids: Sequence[bytes], what: str) -> None:
        shown = [ident.decode(errors="replace") for ident in ids[:5]]
        text = f"Queue {queue} listed {len(ids)} ids {what}; they were removed: {', '.join(shown)}"
        fields = {"queue": queue, "ids": shown, "count": len(ids)}
        self._listener.notice(Notice(action, text, Level.WARNING, fields=fields))

    async def run(self) -> None:
        """Do what was added. An outage only postpones it: the leases lapse, and the next claim meets them again."""
        unwritten, self._unwritten = self._unwritten, []
        unreadable, self._unreadable = self._unreadable, []
        try:
            if unwritten:
                await self._link.pipeline([self._message_for(task) for task in unwritten])
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
