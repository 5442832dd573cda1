"""One live long-running process: hands it lines, hears its answers, knows what is unanswered.

This is the hot path: a task costs one line written and one line read, both in bulk; no future, no timer, no coroutine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.events import Level, Notice
from runqy_worker.domain.outcome import Failed, Outcome
from runqy_worker.executors.exits import overlong_line
from runqy_worker.executors.lines import Cut
from runqy_worker.executors.overtime import Overtime
from runqy_worker.executors.protocol import read_answer, request_line, scrape, task_id_at_start
from runqy_worker.executors.remains import Remains, sort_remains
from runqy_worker.executors.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runqy_worker.domain.launch import Launch
    from runqy_worker.domain.ports import Sink
    from runqy_worker.domain.task import Task
    from runqy_worker.executors.context import Context


class ChildOwner(Protocol):
    """The executor, as its children see it. It must not raise."""

    sink: Sink

    def room_changed(self, child: Child) -> None:
        """Its room changed for another reason than a finished task."""

    def child_idle(self, child: Child) -> None:
        """Nothing is unanswered; only called while `watch_idle` is set."""

    def child_worn(self, child: Child) -> None:
        """It reached its `answer_limit`."""

    def child_gone(self, child: Child, remains: Remains) -> None:
        """Its process ended after it had been ready."""


class Child:
    """One long-running process and the tasks in it.

    Args:
        launch: How to start it.
        concurrency: Most unanswered tasks.
        owner: Hears what happens.
        context: What the executor's processes share.

    Attributes:
        launch: How it was started.
        capacity: Most unanswered tasks, after it said how many it works on at once.
        serial: It works on one task after the other, as far as is known.
        answered: Answers so far.
        answer_limit: After so many answers it is worn, and the owner is told.
        worn: It has reached that limit.
        watch_idle: The owner wants to know when nothing is unanswered.
        ready_at: Monotonic second since which it is ready.
    """

    def __init__(self, launch: Launch, *, concurrency: int, owner: ChildOwner, context: Context) -> None:
        self.launch = launch
        self.capacity = concurrency
        self.serial = True
        self.answered = 0
        self.answer_limit = float("inf")
        self.worn = False
        self.watch_idle = False
        self.ready_at = 0.0
        self._owner = owner
        self._context = context
        self._clock = context.clock
        self._loop = asyncio.get_running_loop()
        self._session = Session(launch, self, context)
        config = context.process
        self._overtime = Overtime(
            self, context.clock, timeout_grace=config.timeout_grace, cancel_grace=config.cancel_grace
        )
        self._doomed = self._overtime.doomed
        self._unanswered: dict[str, Task] = {}
        self._order: deque[Task] = deque()
        self._head: Task | None = None
        self._outbox: list[bytes] = []
        self._flush_due = False
        self._same_id: deque[Task] = deque()
        self._overlong_of = ""
        self._accepting = False
        self._retired = False
        self._started = False
        self._early_death = ""

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._session.pid

    @property
    def idle(self) -> bool:
        """Whether nothing is unanswered."""
        return not self._unanswered

    async def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            ExecutorStartError: It did not become ready; nothing is left of it.
        """
        signal = await self._session.start()
        if self._early_death:
            raise ExecutorStartError(f"{self._early_death} as soon as it was ready")
        self._started = True
        if signal.concurrency is not None:
            self.capacity = min(self.capacity, signal.concurrency)
            self.serial = self.capacity == 1
        self.ready_at = self._clock.monotonic()
        self._accepting = not self._session.ending

    def room(self) -> int:
        """How many more tasks it takes now."""
        if not self._accepting:
            return 0
        return self.capacity - len(self._unanswered) - len(self._same_id)

    def run(self, task: Task) -> None:
        """Hand over a task. Its line goes out together with the others of this turn of the event loop."""
        if task.id in self._unanswered:  # of another queue: an answer could not tell which of the two it is for
            self._same_id.append(task)
        else:
            self._write(task)

    def cancel(self, task_id: str) -> bool:
        """Report the task as cancelled; see `Executor.cancel`."""
        task = self._unanswered.get(task_id)
        if task is None or task_id in self._doomed:
            return False
        self._doom(task, sparing=False)
        self._owner.sink.finished(task, cancelled(self._context.process.cancel_outcome))
        return True

    def abandon(self, task: Task) -> bool:
        """Forget the task; see `Executor.abandon`. False when it isn't here."""
        if task in self._same_id:
            self._same_id.remove(task)
            return True
        if self._unanswered.get(task.id) is not task:
            return False
        doom = self._doomed.get(task.id)
        if doom is not None:
            doom.verdict = None
        else:
            self._doom(task, sparing=True)
        return True

    def retire(self) -> None:
        """Take no more tasks."""
        self._retired = True
        self._accepting = False

    def end(self, grace: float, why: str) -> None:
        """End the process; what becomes of its tasks is told once it is gone."""
        self._accepting = False
        self._session.end(grace, why)

    async def wait_gone(self) -> None:
        """Until nothing is left of the process and its group."""
        await self._session.wait_gone()

    def lines(self, lines: list[bytes]) -> None:
        """It printed lines (`SessionOwner`)."""
        flush_was_due, self._flush_due = self._flush_due, True  # tasks handed over from here on go out below
        unanswered = self._unanswered
        doomed = self._doomed
        finished = self._owner.sink.finished
        number = 0
        try:
            for number, line in enumerate(lines, 1):  # noqa: B007 - needed after the loop broke off
                answer = read_answer(line)
                if answer is None:
                    self._read_closely(line)
                    continue
                task_id, outcome = answer
                task = unanswered.get(task_id)
                if task is None or doomed or outcome.__class__ is Failed:
                    self._take_carefully(task_id, outcome)
                    continue
                del unanswered[task_id]
                self._answer_taken(task)
                finished(task, outcome)
        except BaseException:  # a fault of the engine's: lose no other answer over it
            self._loop.call_soon(self.lines, lines[number:])
            raise
        if self._overlong_of and not self._session.skipping:
            self._take_carefully(self._overlong_of, Failed(""))
            self._overlong_of = ""
        self._flush_due = flush_was_due
        self._after_answers()

    def at_work(self) -> Task | None:
        """The only unanswered task (`SessionOwner`)."""
        if len(self._unanswered) != 1:
            return None
        return next(iter(self._unanswered.values()))

    def broken(self) -> None:
        """The process can't be talked to any more and is being ended (`SessionOwner`)."""
        self._accepting = False
        self._owner.room_changed(self)

    def gone(self, death: str) -> None:
        """The process ended (`SessionOwner`)."""
        if not self._started:
            self._early_death = self._session.masker.mask(death) + self._session.output.ending()
            return
        self._accepting = False
        self._overtime.close()
        remains = sort_remains(
            list(self._unanswered.values()),
            self._doomed,
            serial=self.serial,
            unread_bytes=self._session.unread() + sum(map(len, self._outbox)),
            death=self._session.masker.mask(death) + self._session.output.ending(),
            asked=self._session.asked,
        )
        remains.unread += self._same_id
        self._unanswered.clear()
        self._outbox.clear()
        self._same_id.clear()
        self._owner.child_gone(self, remains)

    def ticking(self) -> Iterable[Task]:
        """The tasks that can have begun (`Watched`)."""
        if self.serial:
            return (self._order[0],) if self._order else ()
        return self._unanswered.values()

    def closing_changed(self) -> None:
        """A task's time is up, or its answer came after all (`Watched`)."""
        accepting = not (self._overtime.blocked or self._retired or self._session.ending)
        if accepting != self._accepting:
            self._accepting = accepting
            self._owner.room_changed(self)

    def end_for(self, why: str) -> None:
        """End the process because of one task (`Watched`)."""
        message = f"ending the task code's process {self.pid}: {why}"
        self._context.listener.notice(Notice("child_ended", message, Level.WARNING, fields={"pid": self.pid}))
        self.end(self._context.process.stop_grace, why)
        self._owner.room_changed(self)

    def _write(self, task: Task) -> None:
        self._unanswered[task.id] = task
        self._outbox.append(request_line(task))
        if self.serial:
            self._order.append(task)
            if len(self._order) == 1:
                self._begin_head()
        else:
            self._overtime.begin(task, self._clock.monotonic())
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._outbox:
            data = self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox)
            self._outbox.clear()
            self._session.send(data)

    def _begin_head(self) -> None:
        self._head = self._order[0]
        self._overtime.begin(self._head, self._clock.monotonic())

    def _answer_taken(self, task: Task) -> None:
        """Bookkeeping for a task that is no longer unanswered."""
        self.answered += 1
        if not self.serial:
            return
        if self._order[0] is task:
            self._order.popleft()
            return
        # An answer out of turn: it works on several at once without having said so.
        self.serial = False
        self._order.clear()
        now = self._clock.monotonic()
        for other in self._unanswered.values():
            if other is not self._head:
                self._overtime.begin(other, now)

    def _after_answers(self) -> None:
        if self._same_id:
            self._hand_over_same_ids()
        if self._order and self._order[0] is not self._head:
            self._begin_head()
        if self._outbox:
            self._flush()
        if self._doomed:
            self._overtime.after_answers()
        if self.answered >= self.answer_limit and not self.worn:
            self.worn = True
            self._owner.child_worn(self)
        if self.watch_idle and not self._unanswered:
            self._owner.child_idle(self)

    def _hand_over_same_ids(self) -> None:
        for _ in range(len(self._same_id)):
            task = self._same_id.popleft()
            self.run(task)

    def _doom(self, task: Task, *, sparing: bool) -> None:
        begun = not self.serial or self._order[0] is task
        self._overtime.doom(task, begun=begun, sparing=sparing)

    def _take_carefully(self, task_id: str, outcome: Outcome) -> None:
        """An answer that is a failure, no longer counts, or is for no task that is known."""
        task = self._unanswered.pop(task_id, None)
        if task is None:
            message = f"an answer for task {task_id[:100]!r} was dropped: it is not unanswered here, or no longer"
            self._context.notices.emit("answer_dropped", message, pid=self.pid)
            return
        self._answer_taken(task)
        if task_id in self._doomed:
            verdict = self._overtime.answered(task_id)
            self.closing_changed()
            if verdict is None:
                self._owner.room_changed(self)
            else:
                self._owner.sink.finished(task, verdict)
            return
        if isinstance(outcome, Failed):
            outcome.error = self._session.masker.mask(outcome.error)
        self._owner.sink.finished(task, outcome)

    def _read_closely(self, line: bytes) -> None:
        if isinstance(line, Cut):
            self._take_overlong(line)
            return
        task = self.at_work()
        for piece in scrape(line):
            if isinstance(piece, bytes):
                self._session.output.line("stdout", piece, task)
                continue
            if piece.note:
                message = f"the answer for task {piece.task_id} was not quite JSON: {piece.note}"
                self._context.notices.emit("answer_mended", message, task=self._unanswered.get(piece.task_id))
            self._take_carefully(piece.task_id, piece.outcome)

    def _take_overlong(self, head: Cut) -> None:
        """A line longer than the limit: fail the task that it is the answer for, or end the process."""
        task_id = task_id_at_start(head)
        task = self._unanswered.get(task_id) if task_id is not None else None
        error = overlong_line(self._context.process.max_line)
        self._context.notices.emit("line_too_long", error.partition(": ")[2], task=task or self.at_work(), pid=self.pid)
        if task is not None and task.id not in self._doomed:
            # Told now; the slot is free once the line has come to its end.
            self._doom(task, sparing=False)
            self._overlong_of = task.id
            self._owner.sink.finished(task, Failed(error, retryable=False))
            return
        task = self.at_work()
        if task is not None:
            if task.id not in self._doomed:
                self._doom(task, sparing=False)
                self._owner.sink.finished(task, Failed(error, retryable=False))
            self.end_for("it printed a line that is too long")
        elif self._unanswered:
            self._session.process_broke("printed a line that is too long while it had several tasks")


def cancelled(kind: str) -> Failed:
    """The outcome of a cancelled task (`process.cancel_outcome`)."""
    if kind == "retry":
        return Failed("context canceled", retryable=True)
    return Failed("cancelled", retryable=False)
