"""Stand-ins for the ports, driven by the test."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.events import Notice, Silent
from runqy_worker.domain.outcome import Completed, Failed, Outcome, Released
from runqy_worker.domain.ports import ExecutorHealth, ExecutorState, Sink
from runqy_worker.domain.settlement import Action
from runqy_worker.domain.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.domain.settlement import Settlement


class FakeClock:
    """Two clocks that move only when told."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Recorder(Silent):
    """Remembers what happened."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.settled: list[tuple[Settlement, bool]] = []
        self.output: list[tuple[str, str, str]] = []
        self.notices: list[Notice] = []

    def task_started(self, task: Task) -> None:
        self.started.append(task.id)

    def task_settled(self, settlement: Settlement, accepted: bool) -> None:
        self.settled.append((settlement, accepted))

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        self.output.append((task.id if task else "", stream, line))

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    def actions(self) -> list[str]:
        """The actions of the notices, in order."""
        return [notice.action for notice in self.notices]


class FakeExecutor:
    """Runs nothing: the test says how each task ends."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.state = ExecutorState.READY
        self.tasks: dict[str, Task] = {}
        self.log: list[str] = []
        self.abandoned: list[str] = []
        self.cancelled: list[str] = []
        self.stopped_with: float | None = None
        self.on_run: Callable[[Task], None] | None = None
        self._sink: Sink | None = None

    def attach(self, sink: Sink) -> None:
        self._sink = sink

    async def start(self) -> None:
        self.state = ExecutorState.READY

    def room(self) -> int:
        return self.slots - len(self.tasks) if self.state is ExecutorState.READY else 0

    def run(self, task: Task) -> None:
        assert self.room() > 0, "run() without room"
        self.tasks[task.id] = task
        self.log.append(task.id)
        if self.on_run:
            self.on_run(task)

    def end(self, task_id: str, outcome: Outcome | None = None) -> None:
        """Let a task end."""
        assert self._sink is not None
        self._sink.finished(self.tasks.pop(task_id), outcome or Completed(b"1"))

    def end_after(self, seconds: float = 0, *, but: str = "") -> None:
        """From now on let each task end by itself, except the one with the id `but`."""

        def schedule(task: Task) -> None:
            if task.id != but:
                asyncio.get_running_loop().call_later(seconds, self.end, task.id)

        self.on_run = schedule

    def become(self, state: ExecutorState) -> None:
        """Change the state, as a crash or a restart would."""
        assert self._sink is not None
        self.state = state
        self._sink.state_changed()

    def cancel(self, task_id: str) -> bool:
        if task_id not in self.tasks:
            return False
        self.cancelled.append(task_id)
        self.end(task_id, Failed("cancelled", retryable=False))
        return True

    def abandon(self, task: Task) -> None:
        self.abandoned.append(task.id)
        del self.tasks[task.id]

    def health(self) -> ExecutorHealth:
        return ExecutorHealth(self.state)

    async def stop(self, grace: float) -> None:
        self.stopped_with = grace
        for task_id in list(self.tasks):
            self.end(task_id, Released(begun=True, reason="process ended"))
        self.state = ExecutorState.STOPPED


class FakeBackend:
    """A list of tasks; what was settled; and faults on demand."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock
        self.pending: list[Task] = []
        self.claimed: set[str] = set()
        self.settled: list[Settlement] = []
        self.renewed: list[list[str]] = []
        self.void: set[str] = set()
        self.claims: list[int] = []
        self.down = False
        self.opened = False
        self.closed = False
        self.stop_waits = 0
        self.waits = 0
        self.cancel: Callable[[str], None] | None = None
        self._tokens = itertools.count(1)
        self._arrival = asyncio.Event()

    def add(self, *ids: str, **fields: float) -> None:
        """Enqueue tasks."""
        for task_id in ids:
            self.pending.append(Task(task_id, "t", b"{}", "q.default", **fields))  # type: ignore[arg-type]  # test data
        self._arrival.set()

    def _check(self) -> None:
        if self.down:
            raise BackendUnavailableError("the fake is down")

    async def open(self) -> None:
        self._check()
        self.opened = True

    async def wait(self) -> None:
        self.waits += 1
        self._check()
        self._arrival.clear()
        if not self.pending:
            await self._arrival.wait()

    async def stop_waiting(self) -> None:
        self.stop_waits += 1

    async def claim(self, want: int) -> list[Task]:
        self._check()
        self.claims.append(want)
        taken, self.pending = self.pending[:want], self.pending[want:]
        self.claimed.update(task.id for task in taken)
        token = f"w/{next(self._tokens)}"  # one for all of a claim
        for task in taken:
            task.token = token
            task.claimed_at = self.clock.monotonic() if self.clock else asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        return taken

    async def renew(self, tasks: Sequence[Task]) -> list[bool]:
        self._check()
        self.renewed.append([task.id for task in tasks])
        return [task.id not in self.void for task in tasks]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        self._check()
        self.settled.extend(settlements)
        self.claimed.difference_update(settlement.task.id for settlement in settlements)
        for settlement in settlements:
            if settlement.action is Action.RELEASE:
                self.pending.insert(0, settlement.task)
                self._arrival.set()
        return [settlement.task.id not in self.void for settlement in settlements]

    async def upkeep(self) -> float:
        self._check()
        return 60.0

    async def listen(self, on_cancel: Callable[[str], None]) -> None:
        self.cancel = on_cancel
        await asyncio.Event().wait()

    async def is_empty(self) -> bool:
        return not self.pending and not self.claimed

    async def close(self) -> None:
        self.closed = True


async def eventually(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Let the loop turn until `condition()` holds; fails after a generous limit."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen in time"
        await asyncio.sleep(0.001)
