"""Runs tasks in one supervised process that stays alive: restarts it, finds poison tasks, replaces it without a gap."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.domain.events import Level, Listener, Notice
from runqy_worker.domain.outcome import Failed, Released
from runqy_worker.domain.ports import ExecutorHealth, ExecutorState, Sink
from runqy_worker.executors.backoff import RestartPolicy
from runqy_worker.executors.child import Child, cancelled
from runqy_worker.executors.context import make_context
from runqy_worker.executors.hardware import switch_mode
from runqy_worker.executors.recovery import Recovery
from runqy_worker.executors.recycling import Recycler
from runqy_worker.executors.sinks import NoSink

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

    from runqy_worker.config.model import ProcessConfig, RecoveryConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.launch import Launch
    from runqy_worker.domain.task import Task
    from runqy_worker.executors.remains import Remains


class LongRunningExecutor:
    """One long-running process, kept alive.

    Args:
        launch: How to start it.
        concurrency: Most unanswered tasks in it.
        process: Limits and graces.
        recovery: Restarts after crashes.
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
        self._recovery = Recovery(self._policy, self._restart, self._degrade, listener=listener, clock=clock)
        self._recycler = Recycler(self._context, self._recycle)
        self._state = ExecutorState.STOPPED
        self._stopping = False
        self._child: Child | None = None
        self._retiring: Child | None = None
        self._retired = asyncio.Event()
        self._retired.set()
        self._drain_timer: asyncio.TimerHandle | None = None
        self._switching = asyncio.Lock()
        self._suspects: deque[Task] = deque()
        self._isolating = False
        self._unexplained = False

    def attach(self, sink: Sink) -> None:
        """See `Executor`."""
        self.sink = sink

    async def start(self) -> None:
        """See `Executor`."""
        self._stopping = False
        self._enter(ExecutorState.STARTING)
        try:
            await self._start_child(self._launch)
        except ExecutorStartError:
            self._enter(ExecutorState.STOPPED)
            raise

    def room(self) -> int:
        """See `Executor`."""
        if self._child is None or self._isolating or self._state is not ExecutorState.READY:
            return 0
        return self._child.room()

    def run(self, task: Task) -> None:
        """See `Executor`."""
        child = self._child
        if child is None or self._state is not ExecutorState.READY:
            reason = "the task code's process is not ready"
            asyncio.get_running_loop().call_soon(self.sink.finished, task, Released(reason=reason))
        elif task.alone or self._isolating:
            self._isolate([task])
        else:
            child.run(task)

    def cancel(self, task_id: str) -> bool:
        """See `Executor`."""
        for task in self._suspects:
            if task.id == task_id:
                self._suspects.remove(task)
                self.sink.finished(task, cancelled(self._context.process.cancel_outcome))
                return True
        return any(child.cancel(task_id) for child in self._children())

    def abandon(self, task: Task) -> None:
        """See `Executor`."""
        if task in self._suspects:
            self._suspects.remove(task)
            return
        for child in self._children():
            if child.abandon(task):
                return

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
        self._recycler.stop()
        for child in self._children():
            child.end(grace, "the worker stops")
        await self._context.end_all(grace)
        self._release(self._suspects, "the worker stops")
        self._isolating = False

    async def switch(self, launch: Launch, *, mode: str, drain: float) -> float:
        """Let another release take over; or the same one, in a fresh process.

        Args:
            launch: The release, in the same mode as the one before.
            mode: `overlap` starts the new process beside the old one; `stop_first` ends the old one before; `auto`
                overlaps unless a GPU may be in use.
            drain: Seconds that the old process gets to finish its tasks.

        Returns:
            Seconds in which no task could start; 0 for an overlap.

        Raises:
            ExecutorStartError: The new process did not become ready; the old release still serves.
        """
        if launch.mode is not self._launch.mode:
            raise ExecutorStartError(
                f"the mode changed from {self._launch.mode.value} to {launch.mode.value}: that needs a restart"
            )
        mode = switch_mode(mode, launch.env)
        if self._retiring is not None:
            self._limit_drain(drain)
        async with self._switching:
            await self._retired.wait()
            if mode == "overlap":
                await self._overlap(launch, drain)
                return 0.0
            since = self._clock.monotonic()
            await self._stop_first(launch, drain)
            return self._clock.monotonic() - since

    def room_changed(self, child: Child) -> None:
        """See `ChildOwner`."""
        if child is self._child:
            self.sink.state_changed()

    def child_idle(self, child: Child) -> None:
        """See `ChildOwner`."""
        if child is self._retiring:
            child.end(self._context.process.stop_grace, "it was replaced")
        elif child is self._child and self._isolating:
            self._next_suspect(child)

    def child_worn(self, child: Child) -> None:
        """See `ChildOwner`."""
        if child is self._child:
            self._recycler.worn()

    def child_gone(self, child: Child, remains: Remains) -> None:
        """See `ChildOwner`."""
        current = child is self._child
        if current:
            self._child = None
            self._state = ExecutorState.STOPPED if self._stopping else ExecutorState.RECOVERING
        if child is self._retiring:
            self._retiring = None
            self._cancel_drain()
            self._retired.set()
        counted = self._settle(child, remains)
        if current and not self._stopping:
            if counted is not None:
                self._recovery.crashed(remains.death)
            self._recovery.begin(remains.death, counted=bool(counted))
            self.sink.state_changed()

    def _settle(self, child: Child, remains: Remains) -> bool | None:
        """Decide over what a child left behind; whether its end counts as a crash of its own, None if it is none."""
        for task, outcome in remains.decided:
            self.sink.finished(task, outcome)
        if remains.asked:
            for task, outcome in remains.released(remains.asked):
                self.sink.finished(task, outcome)
            return None
        culprit = remains.culprit
        self._announce_crash(child, remains)
        if culprit is not None:
            if culprit.alone and self._unexplained:  # the crash that it was suspected of is charged to it, too
                self._policy.absolve()
                self._unexplained = False
            self.sink.finished(culprit, Failed(remains.death, retryable=True, death=True))
        elif self._stopping:
            self._release(remains.suspects, remains.death)
        else:
            self._unexplained = bool(remains.suspects)
            self._isolate(remains.suspects)
        for task in remains.unread:
            self.sink.finished(task, Released(reason=remains.death))
        return remains.in_work != 1

    def _announce_crash(self, child: Child, remains: Remains) -> None:
        message = f"the task code's {remains.death}"
        if remains.culprit is not None:
            message += f"; task {remains.culprit.id} was the only one in it"
        elif remains.suspects:
            message += f"; {len(remains.suspects)} tasks were unanswered and will run again, one at a time"
        fields = {"pid": child.pid, "release": child.launch.release, "unanswered": len(remains.suspects)}
        self._listener.notice(Notice("child_crashed", message, Level.ERROR, remains.culprit, fields))

    def _isolate(self, tasks: Iterable[Task]) -> None:
        """Run tasks one at a time, each with no neighbour, before anything else."""
        for task in tasks:
            task.alone = True
            task.expires_at = 0.0
            self._suspects.append(task)
        self._isolating = bool(self._suspects)
        if self._isolating and self._child is not None:
            self._child.watch_idle = True
            if self._child.idle:
                self._next_suspect(self._child)

    def _next_suspect(self, child: Child) -> None:
        if self._suspects:
            child.run(self._suspects.popleft())
        else:
            self._isolating = self._unexplained = False
            child.watch_idle = False
            self.sink.state_changed()

    async def _start_child(self, launch: Launch) -> None:
        """Start a child and let it take over.

        Raises:
            ExecutorStartError: It did not become ready.
        """
        self._adopt(await self._ready_child(launch))

    async def _ready_child(self, launch: Launch) -> Child:
        child = Child(launch, concurrency=self._concurrency, owner=self, context=self._context)
        if not self._stopping:
            await child.start()
        if self._stopping:
            child.end(0, "the worker stops")
            raise ExecutorStartError("the worker stops")
        return child

    def _adopt(self, child: Child) -> None:
        self._child = child
        self._launch = child.launch
        self._policy.running(self._clock.monotonic())
        self._recycler.watch(child)
        fields = {"pid": child.pid, "release": child.launch.release}
        self._listener.notice(Notice("child_ready", f"the task code's process {child.pid} is ready", fields=fields))
        self._state = ExecutorState.READY
        self._isolate(())
        self.sink.state_changed()

    async def _restart(self) -> None:
        await self._start_child(self._launch)

    async def _recycle(self, child: Child, reason: str) -> None:
        """Replace the process by a fresh one of the same release.

        Raises:
            ExecutorStartError: The old one still serves.
        """
        if child is not self._child:
            return
        message = f"replacing the task code's process: {reason}"
        self._listener.notice(Notice("child_recycled", message, fields={"reason": reason}))
        await self.switch(self._launch, mode="auto", drain=float("inf"))

    async def _overlap(self, launch: Launch, drain: float) -> None:
        child = await self._ready_child(launch)
        self._recovery.cancel()
        self._policy.forget()
        old, self._child = self._child, None
        if old is not None:
            self._retire(old, drain)
        self._adopt(child)

    async def _stop_first(self, launch: Launch, drain: float) -> None:
        before, degraded = self._launch, self._state is ExecutorState.DEGRADED
        self._recovery.cancel()
        old, self._child = self._child, None
        self._enter(ExecutorState.STARTING)
        try:
            if old is not None:
                self._retire(old, drain)
            await self._retired.wait()
            await self._start_child(launch)
            self._policy.forget()
        except ExecutorStartError:
            if not degraded and not self._stopping:
                await self._return_to(before)
            raise
        finally:
            self._after_switch(degraded=degraded)

    def _after_switch(self, *, degraded: bool) -> None:
        """Whatever became of the switch, don't stay without a process."""
        if self._child is not None or self._stopping:
            return
        self._enter(ExecutorState.DEGRADED if degraded else ExecutorState.RECOVERING)
        if not degraded:
            self._recovery.begin("the switch to another release failed", counted=True)

    async def _return_to(self, launch: Launch) -> None:
        """Start the old release again; when that fails too, recovery goes on trying."""
        try:
            await self._start_child(launch)
        except ExecutorStartError as error:
            self._recovery.crashed(str(error))

    def _retire(self, child: Child, drain: float) -> None:
        """Let a child finish its tasks, for at most `drain` seconds, then end it."""
        self._retiring = child
        self._retired.clear()
        child.retire()
        child.watch_idle = True
        if child.idle:
            self.child_idle(child)
        else:
            self._limit_drain(drain)

    def _limit_drain(self, drain: float) -> None:
        loop = asyncio.get_running_loop()
        if drain == float("inf") or (self._drain_timer is not None and self._drain_timer.when() <= loop.time() + drain):
            return
        self._cancel_drain()
        self._drain_timer = loop.call_later(drain, self._end_retiring)

    def _cancel_drain(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None

    def _end_retiring(self) -> None:
        if self._retiring is not None:
            self._retiring.end(self._context.process.stop_grace, "it was replaced, and its time to drain is over")

    def _degrade(self, reason: str) -> None:
        message = f"the task code's process can't be kept alive; no more restarts: {reason}"
        self._listener.notice(Notice("executor_degraded", message, Level.ERROR, fields={"reason": reason}))
        self._state = ExecutorState.DEGRADED
        self._release(self._suspects, "the task code's process can't be kept alive")
        self._isolating = False
        self.sink.state_changed()

    def _release(self, tasks: Iterable[Task], reason: str) -> None:
        """Give back tasks that have run in part."""
        for task in list(tasks):
            self.sink.finished(task, Released(begun=True, reason=reason))
        self._suspects.clear()

    def _children(self) -> list[Child]:
        return [child for child in (self._child, self._retiring) if child is not None]

    def _enter(self, state: ExecutorState) -> None:
        if state is not self._state:
            self._state = state
            self.sink.state_changed()
