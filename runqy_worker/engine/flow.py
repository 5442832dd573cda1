"""The tasks in hand: claimed and waiting, running, or ended and not yet settled. Synchronous and quick.

Every claimed task is in `held` until the backend has taken its settlement, so its lease is renewed until then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level, Listener, Notice
from runqy_worker.domain.outcome import Released
from runqy_worker.domain.ports import ExecutorState
from runqy_worker.engine.prefetch import PATIENCE, Prefetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.ports import Executor
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task
    from runqy_worker.engine.middleware import Chain
    from runqy_worker.engine.retrying import Verdicts


UNSETTLED_LIMIT = 1000
"""Outcomes that may wait for the backend. Beyond that nothing is claimed: all of them would run again if we died."""


class Flow:
    """Hands claimed tasks to the executor, and its outcomes to the outbox. It is the executor's sink.

    Attributes:
        held: Every task under a lease of ours.
        running: Those handed to the executor.
        outbox: Settlements that wait to be sent.
        claiming: Whether more tasks may be claimed (not quiet, not draining).
        draining: Whether the engine is on its way out.
        degraded: Set once the executor gave up keeping its process alive.
        demand_changed: Set when `demand` may have become positive, or the last running task ended.
        on_ring: Called when `demand` may have changed either way, if set.
        outbox_filled: Set when there is something to settle.
        emptied: Set when nothing is in hand any more.
    """

    def __init__(
        self, executor: Executor, verdicts: Verdicts, middleware: Chain, *, listener: Listener, clock: Clock
    ) -> None:
        self._executor = executor
        self._verdicts = verdicts
        self._middleware = middleware
        self._listener = listener
        self._clock = clock
        self._prefetch = Prefetch()
        self._overdue_timer: asyncio.TimerHandle | None = None
        self._waiting: deque[Task] = deque()
        self.held: set[Task] = set()
        self.running: set[Task] = set()
        self.outbox: list[Settlement] = []
        self.claiming = True
        self.draining = False
        self._low_mark = 0
        self._held_back = False
        self.degraded = asyncio.Event()
        self.demand_changed = asyncio.Event()
        self.on_ring: Callable[[], None] | None = None
        self.outbox_filled = asyncio.Event()
        self.emptied = asyncio.Event()
        executor.attach(self)

    @property
    def has_waiting(self) -> bool:
        """Whether claimed tasks wait for a slot."""
        return bool(self._waiting)

    @property
    def unsettled(self) -> int:
        """How many tasks have ended whose outcomes the backend has not taken yet."""
        return len(self.held) - len(self.running) - len(self._waiting)

    def demand(self) -> int:
        """How many tasks to claim now: free slots, and a few to keep at hand while tasks are short."""
        if not self.claiming:
            return 0
        if len(self.held) - len(self.running) - len(self._waiting) >= UNSETTLED_LIMIT:
            self._held_back = True
            return 0
        room = self._executor.room()
        if not room and self._executor.health().state is not ExecutorState.READY:
            return 0
        depth = self._prefetch.depth(self._clock.monotonic())
        waiting = len(self._waiting)
        self._low_mark = depth // 2
        if not room and waiting > self._low_mark:
            return 0
        return room + depth - waiting

    def accept(self, tasks: list[Task]) -> None:
        """Take claimed tasks in hand and start what there is room for."""
        for task in tasks:
            self.held.add(task)
            settlement = self._verdicts.before_start(task)
            if settlement is None:
                task.alone = task.deaths > 0  # its next death, if it comes, costs no neighbour a re-run
                self._waiting.append(task)
            else:
                self._post(settlement)
        if not self.claiming:
            self.release_waiting("the worker stopped claiming")
        self._pump()
        if self._waiting and self._overdue_timer is None:
            self._watch_overdue(PATIENCE)

    def finished(self, task: Task, outcome: Outcome) -> None:
        """An attempt ended (`Sink`)."""
        if task not in self.running:
            return
        self.running.discard(task)
        self._prefetch.ended(1)
        if self._middleware:
            outcome = self._middleware.after(task, outcome)
        self._post(self._verdicts.settle(task, outcome, draining=self.draining))
        if self._waiting:
            self._pump()
        if len(self._waiting) <= self._low_mark:
            self.ring()

    def state_changed(self) -> None:
        """The executor's room changed (`Sink`): start what fits, give back what can't start."""
        self._pump()
        state = self._executor.health().state
        if state is not ExecutorState.READY:
            self.release_waiting("the task code's process is not ready")
        if state is ExecutorState.DEGRADED:
            self.degraded.set()
        self.ring()

    def release_waiting(self, reason: str) -> None:
        """Give back every task that has not started."""
        while self._waiting:
            task = self._waiting.pop()
            self._post(self._verdicts.settle(task, Released(reason=reason)))

    def settled(self, settlement: Settlement, *, accepted: bool) -> None:
        """The backend answered: the task is out of our hands."""
        self.held.discard(settlement.task)
        self._listener.task_settled(settlement, accepted)
        if self._held_back:
            self._held_back = False
            self.ring()
        if not self.held:
            self.emptied.set()

    def lost(self, task: Task) -> None:
        """A renewal found the token void: someone else holds the task; end the work on it if that can be done."""
        if task in self.running:
            self.running.discard(task)
            self._executor.abandon(task)
        elif task in self._waiting:
            self._waiting.remove(task)
        else:
            return  # its settlement is under way and finds out by itself
        self.held.discard(task)
        message = "the lease was lost: another worker holds this task now; its outcome here is dropped"
        self._listener.notice(Notice("lease_lost", message, Level.WARNING, task))
        if not self.held:
            self.emptied.set()
        self.ring()

    def ring(self) -> None:
        """Say that `demand` may have changed."""
        if not self.demand_changed.is_set():
            self.demand_changed.set()
        if self.on_ring is not None:
            self.on_ring()

    def _pump(self) -> None:
        waiting = self._waiting
        executor = self._executor
        while waiting and executor.room() > 0:
            task = waiting.popleft()
            if self._middleware:
                outcome = self._middleware.before(task)
                if outcome is not None:
                    self._post(self._verdicts.settle(task, self._middleware.after(task, outcome)))
                    continue
            self.running.add(task)
            task.started_at = self._clock.monotonic()
            executor.run(task)
            self._listener.task_started(task)

    def _post(self, settlement: Settlement) -> None:
        self.outbox.append(settlement)
        if not self.outbox_filled.is_set():
            self.outbox_filled.set()

    def _watch_overdue(self, delay: float) -> None:
        self._overdue_timer = asyncio.get_running_loop().call_later(delay, self._release_overdue)

    def _release_overdue(self) -> None:
        self._overdue_timer = None
        if not self._waiting:
            return
        now = self._clock.monotonic()
        age = now - self._waiting[0].claimed_at
        if age < PATIENCE:
            self._watch_overdue(PATIENCE - age)
            return
        self._prefetch.reset(now)
        self.release_waiting("prefetched, but no slot came free in time")
