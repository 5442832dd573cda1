"""Runs each task in a fresh process, started ahead where that is possible."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.events import Level, Listener, Notice
from runqy_worker.domain.outcome import Outcome, Released
from runqy_worker.domain.ports import ExecutorHealth, ExecutorState, Sink
from runqy_worker.executors.backoff import RestartPolicy
from runqy_worker.executors.child import cancelled
from runqy_worker.executors.context import make_context
from runqy_worker.executors.hardware import switch_mode, usable_cores
from runqy_worker.executors.recovery import Recovery
from runqy_worker.executors.single_use import SingleUse
from runqy_worker.executors.sinks import NoSink
from runqy_worker.executors.standby import Standby

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

    from runqy_worker.config.model import ProcessConfig, RecoveryConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.launch import Launch
    from runqy_worker.domain.task import Task


AHEAD_PAUSE = 0.005
"""Seconds until a process is started that no task waits for: a short task's outcome is written first, undisturbed."""


class OneShotExecutor:
    """A fresh process for each task.

    A slot is free as soon as the answer came. Processes that are still on their way out count towards the limit of
    concurrency plus standbys, so there are never more processes than that.

    Args:
        launch: How to start a process.
        concurrency: Tasks at once.
        process: Limits and graces.
        recovery: What to do when processes don't start.
        listener: Hears what happens.
        clock: Time.
        rng: For jitter.
        state_dir: Where live processes are written down; None keeps no records.

    Attributes:
        sink: Where outcomes go.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        concurrency: int,
        process: ProcessConfig,
        recovery: RecoveryConfig,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
        state_dir: Path | None = None,
    ) -> None:
        self.sink: Sink = NoSink()
        self._launch = launch
        self._concurrency = concurrency
        self._context = make_context(process, listener=listener, clock=clock, rng=rng, state_dir=state_dir)
        self._listener = listener
        self._clock = clock
        self._policy = RestartPolicy(recovery, rng)
        self._recovery = Recovery(self._policy, self._probe, self._degrade, listener=listener, clock=clock)
        self._standby = Standby(process, concurrency, clock)
        self._state = ExecutorState.STOPPED
        self._stopping = False
        self._switching = asyncio.Lock()
        self._processes: set[SingleUse] = set()
        self._starting: dict[SingleUse, asyncio.Task[None]] = {}
        self._running: set[SingleUse] = set()
        self._waiting: deque[Task] = deque()
        self._idle_deaths = 0
        self._later: asyncio.TimerHandle | None = None
        self._cores = usable_cores()

    def attach(self, sink: Sink) -> None:
        """See `Executor`."""
        self.sink = sink

    async def start(self) -> None:
        """See `Executor`."""
        self._stopping = False
        self._enter(ExecutorState.STARTING)
        try:
            await self._probe()
        except ExecutorStartError:
            self._enter(ExecutorState.STOPPED)
            raise

    def room(self) -> int:
        """See `Executor`."""
        if self._state is not ExecutorState.READY:
            return 0
        return self._concurrency - len(self._running) - len(self._waiting)

    def run(self, task: Task) -> None:
        """See `Executor`."""
        if self._state is not ExecutorState.READY:
            reason = "the task code's processes don't start"
            asyncio.get_running_loop().call_soon(self.sink.finished, task, Released(reason=reason))
            return
        self._waiting.append(task)
        self._dispatch()

    def cancel(self, task_id: str) -> bool:
        """See `Executor`."""
        verdict = cancelled(self._context.process.cancel_outcome)
        for task in self._waiting:
            if task.id == task_id:
                self._waiting.remove(task)
                self.sink.finished(task, verdict)
                return True
        for process in self._running:
            if process.task is not None and process.task.id == task_id:
                process.end_with(verdict, "its task was cancelled", self._context.process.stop_grace)
                return True
        return False

    def abandon(self, task: Task) -> None:
        """See `Executor`."""
        if task in self._waiting:
            self._waiting.remove(task)
            return
        for process in self._running:
            if process.task is task:
                process.end_with(None, "its task is another worker's now", self._context.process.stop_grace)

    def health(self) -> ExecutorHealth:
        """See `Executor`."""
        return ExecutorHealth(
            self._state,
            restarts=self._recovery.restarts,
            crashes=self._recovery.crashes,
            last_crash=self._recovery.last_crash,
            pids=tuple(session.pid for session in self._context.live if session.pid),
            fault=self._recovery.fault,
        )

    async def stop(self, grace: float) -> None:
        """See `Executor`."""
        self._stopping = True
        self._enter(ExecutorState.STOPPED)
        self._recovery.cancel()
        self._standby.clear()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._release_waiting("the worker stops")
        self._interrupt(list(self._running), "the worker stops", grace)
        await self._context.end_all(grace)

    async def switch(self, launch: Launch, *, mode: str, drain: float) -> float:
        """Let another release take over.

        Args:
            launch: The release, in the same mode as the one before.
            mode: `overlap` proves that the new release starts before the old one goes; `stop_first` ends every process
                before; `auto` overlaps unless a GPU may be in use.
            drain: Seconds that running tasks of the old release get.

        Returns:
            Seconds in which no task could start; 0 for an overlap.

        Raises:
            ExecutorStartError: No process of the new release became ready; the old one still serves.
        """
        if launch.mode is not self._launch.mode:
            raise ExecutorStartError(
                f"the mode changed from {self._launch.mode.value} to {launch.mode.value}: that needs a restart"
            )
        async with self._switching:
            if switch_mode(mode, launch.env) == "overlap":
                await self._overlap(launch, drain)
                return 0.0
            since = self._clock.monotonic()
            await self._stop_first(launch, drain)
            return self._clock.monotonic() - since

    def task_ended(self, process: SingleUse, task: Task, outcome: Outcome | None) -> None:
        """See `SingleUseOwner`."""
        self._running.discard(process)
        if not isinstance(outcome, Released):
            self._idle_deaths = 0
            self._policy.forget()
        if outcome is None:
            self.sink.state_changed()
        else:
            self.sink.finished(task, outcome)
        self._refill()

    def process_gone(self, process: SingleUse, death: str) -> None:
        """See `SingleUseOwner`."""
        self._processes.discard(process)
        self._standby.remove(process)
        if not process.used and not process.unwanted and not self._stopping:
            self._idle_deaths += 1
            if self._idle_deaths > 1:
                self._trouble(death)
        self._refill()

    def _dispatch(self) -> None:
        """Give waiting tasks to processes that are ready, and start more."""
        while self._waiting and (process := self._standby.take()) is not None:
            task = self._waiting.popleft()
            self._running.add(process)
            process.run(task)
        self._refill()

    def _refill(self) -> None:
        """Start processes for tasks that wait, at once; those for tasks to come in a moment."""
        if self._state is not ExecutorState.READY:
            return
        self._start_more(len(self._waiting) - len(self._starting))
        if self._later is None and min(self._missing(), self._free()) > 0:
            self._later = asyncio.get_running_loop().call_later(AHEAD_PAUSE, self._fill_up)

    def _fill_up(self) -> None:
        """Start processes ahead of tasks, unless they would only slow down those that tasks wait for."""
        self._later = None
        busy = self._waiting and len(self._starting) >= self._cores
        if self._state is ExecutorState.READY and not busy:
            self._start_more(self._missing())

    def _missing(self) -> int:
        """How many more processes are wanted than are ready or starting."""
        wanted = len(self._waiting) + self._standby.wanted(self._launch)
        return wanted - len(self._standby) - len(self._starting)

    def _free(self) -> int:
        """How many more processes there may be."""
        return self._concurrency + self._standby.wanted(self._launch) - len(self._processes)

    def _start_more(self, count: int) -> None:
        """Start up to so many processes, within the limit."""
        for _ in range(min(count, self._free())):
            process = SingleUse(self._launch, self, self._context)
            self._processes.add(process)
            start = asyncio.create_task(self._start_ahead(process), name="one-shot start")
            self._starting[process] = start
            start.add_done_callback(self._start_ended)

    async def _start_ahead(self, process: SingleUse) -> None:
        try:
            await process.start()
        except ExecutorStartError as error:
            self._processes.discard(process)
            if not process.unwanted and not self._stopping:
                self._trouble(str(error))
        else:
            if process.launch is self._launch and self._state is ExecutorState.READY:
                self._standby.add(process, _retire_aged)
            else:
                process.retire("no longer wanted")
        finally:
            del self._starting[process]
        self._dispatch()

    def _start_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._degrade(f"a fault in the worker itself: {error!r}")

    async def _probe(self) -> None:
        """Prove that a process becomes ready, and be ready from then on; it is used if one is wanted.

        Raises:
            ExecutorStartError: It did not.
        """
        await self._take_over(await self._ready_process(self._launch))

    async def _ready_process(self, launch: Launch) -> SingleUse:
        process = SingleUse(launch, self, self._context)
        self._processes.add(process)
        try:
            if not self._stopping:
                await process.start()
        except BaseException:
            self._processes.discard(process)
            raise
        if self._stopping:
            self._processes.discard(process)
            process.retire("the worker stops")
            raise ExecutorStartError("the worker stops")
        return process

    async def _take_over(self, process: SingleUse) -> None:
        """From now on tasks run in processes like this one, which may be the first."""
        self._launch = process.launch
        self._policy.running(self._clock.monotonic())
        self._standby.add(process, _retire_aged)
        self._state = ExecutorState.READY
        fields = {"pid": process.pid, "release": process.launch.release}
        self._listener.notice(Notice("child_ready", "the task code's processes start", fields=fields))
        self.sink.state_changed()
        self._dispatch()
        self._context.starter.expect_many()
        if not self._standby.wanted(self._launch) and self._standby.remove(process):
            process.retire("no standby is wanted")
            await process.wait_gone()

    async def _overlap(self, launch: Launch, drain: float) -> None:
        process = await self._ready_process(launch)
        self._recovery.cancel()
        self._policy.forget()
        old = [other for other in self._processes if other is not process]
        self._retire_unused(old)
        running = [other for other in old if other.task is not None]
        if running and drain != float("inf"):
            grace, why = self._context.process.stop_grace, "its release was replaced, and its time to drain is over"
            asyncio.get_running_loop().call_later(drain, self._interrupt, running, why, grace)
        await self._take_over(process)

    async def _stop_first(self, launch: Launch, drain: float) -> None:
        before, degraded = self._launch, self._state is ExecutorState.DEGRADED
        self._recovery.cancel()
        self._enter(ExecutorState.STARTING)
        self._release_waiting("another release takes over")
        self._retire_unused(list(self._processes))
        try:
            await self._drain(drain)
            await self._take_over(await self._ready_process(launch))
            self._policy.forget()
        except ExecutorStartError:
            if not degraded and not self._stopping:
                await self._return_to(before)
            raise
        finally:
            if self._state is ExecutorState.STARTING:
                self._enter(ExecutorState.DEGRADED if degraded else ExecutorState.RECOVERING)
                if not degraded:
                    self._recovery.begin("the switch to another release failed", counted=True)

    async def _return_to(self, launch: Launch) -> None:
        """Start the old release again; when that fails too, recovery goes on trying."""
        self._launch = launch
        try:
            await self._probe()
        except ExecutorStartError as error:
            self._recovery.crashed(str(error))

    async def _drain(self, drain: float) -> None:
        """Let every process end, those that run a task after at most `drain` seconds."""
        ends = [asyncio.create_task(process.wait_gone()) for process in self._processes]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=None if drain == float("inf") else drain)
        if late:
            why = "its release was replaced, and its time to drain is over"
            self._interrupt(list(self._running), why, self._context.process.stop_grace)
            await asyncio.wait(late)

    def _retire_unused(self, processes: Iterable[SingleUse]) -> None:
        self._standby.clear()
        for process in processes:
            process.retire("its release was replaced")

    def _interrupt(self, processes: Iterable[SingleUse], why: str, grace: float) -> None:
        """End processes that still run a task; the task is given back."""
        for process in processes:
            process.end_with(Released(begun=True, reason=why), why, grace)

    def _trouble(self, reason: str) -> None:
        """Processes don't start, or die before they get a task: go on trying, with growing delay, under a limit."""
        self._recovery.crashed(reason)
        if self._state is not ExecutorState.READY:
            return
        message = f"the task code's processes don't start: {reason}"
        self._listener.notice(Notice("child_crashed", message, Level.ERROR, fields={"reason": reason}))
        self._enter(ExecutorState.RECOVERING)
        self._release_waiting("the task code's processes don't start")
        self._recovery.begin(reason, counted=True)

    def _degrade(self, reason: str) -> None:
        message = f"the task code's processes don't start; no more attempts: {reason}"
        self._listener.notice(Notice("executor_degraded", message, Level.ERROR, fields={"reason": reason}))
        self._release_waiting(message)
        self._enter(ExecutorState.DEGRADED)

    def _release_waiting(self, reason: str) -> None:
        waiting = list(self._waiting)
        self._waiting.clear()
        for task in waiting:
            self.sink.finished(task, Released(reason=reason))

    def _enter(self, state: ExecutorState) -> None:
        if state is not self._state:
            self._state = state
            self.sink.state_changed()


def _retire_aged(process: SingleUse) -> None:
    process.retire("it waited for a task for too long")
