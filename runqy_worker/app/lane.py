"""One parent queue's way through the house: registration, deployed release, executor, backend, engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.app.lane_releases import LaneReleases
from runqy_worker.app.loading import load_later_modules
from runqy_worker.app.redis_access import redis_options
from runqy_worker.domain.clock import SharedClock
from runqy_worker.domain.errors import DeploymentError, RunqyError
from runqy_worker.domain.events import Level, Notice
from runqy_worker.domain.ports import ExecutorHealth, ExecutorState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from runqy_worker.app.context import Context
    from runqy_worker.app.lane_releases import Change
    from runqy_worker.backends.asynq.backend import AsynqBackend
    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.config.model import Config
    from runqy_worker.deployment.answer import Registration
    from runqy_worker.deployment.releases import ReleaseDir
    from runqy_worker.domain.task import Task
    from runqy_worker.engine.engine import Engine
    from runqy_worker.executors.factory import SwitchableExecutor

LONGEST_BOOTSTRAP_DELAY = 300.0
"""Seconds between attempts to bootstrap, at most."""
CREDENTIALS_PAUSE = 5.0
CREDENTIALS_SHARE = 0.25
"""Seconds, and the part of a lease, between attempts to get new credentials: the sooner of the two. Workers that got
them take over what is held by those that are locked out for longer than a lease.
"""


class Lane:
    """One parent queue of this worker, with its own deployment, process and engine.

    Args:
        parent: Name of the parent queue.
        queues: Names to register for: the parent itself, or some of its sub-queues.
        context: What all lanes share.
        on_registered: Awaited once the lane knows its Redis, while it is deployed.
        on_moved: Awaited with the old options when its Redis or the credentials changed.
    """

    def __init__(
        self,
        parent: str,
        queues: tuple[str, ...],
        context: Context,
        on_registered: Callable[[Lane], Awaitable[None]],
        on_moved: Callable[[Lane, RedisOptions], Awaitable[None]],
    ) -> None:
        self.parent = parent
        self._queues = queues
        self._context = context
        self._clock = SharedClock(context.clock)
        self._on_registered = on_registered
        self._on_moved = on_moved
        self.releases = LaneReleases(parent, context, self._clock)
        self._registration: Registration | None = None
        self._waiting: list[asyncio.Future[RunqyError | None]] = []
        self._boot: asyncio.Task[None] | None = None
        self._stopping = False
        self._quiet = False
        self._served = False
        self._changing = asyncio.Lock()
        self._retry_now = asyncio.Event()
        self._credentials_asked = float("-inf")
        self._options: RedisOptions | None = None
        self.degraded = asyncio.Event()
        self.weights: dict[str, int] = {}
        self.backend: AsynqBackend | None = None
        self.engine: Engine | None = None

    @property
    def ready(self) -> bool:
        """Whether it has an engine that can run tasks."""
        return self.engine is not None

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping

    @property
    def release(self) -> ReleaseDir | None:
        """The deployed release in use."""
        return self.releases.release

    @property
    def executor(self) -> SwitchableExecutor | None:
        """What runs it; None before the first is ready."""
        return self.releases.executor

    def work_is_quiet_for(self) -> float:
        """Seconds since a deploy last showed a sign of progress; infinite when there is no deploy under way."""
        if self._boot is None and not self._changing.locked():
            return float("inf")
        return self.releases.work_is_quiet_for()

    @property
    def options(self) -> RedisOptions:
        """Where its Redis is; not known before it has registered."""
        if self._options is None:
            raise RuntimeError(f"lane {self.parent} has not registered yet")
        return self._options

    def health(self) -> ExecutorHealth:
        """Of its executor; STARTING while there is none."""
        return self.executor.health() if self.executor else ExecutorHealth(ExecutorState.STARTING)

    def running(self) -> list[Task]:
        """The tasks that run now."""
        return self.engine.running() if self.engine else []

    async def bootstrap(self) -> None:
        """Register, deploy, start the task code, once. Returns early, not `ready`, when a stop is asked for.

        Raises:
            RunqyError: What went wrong (registration, deployment or start of the process).
        """
        await self._unless_stopped(self._make_ready)

    async def run(self) -> None:
        """Bootstrap until that succeeds, then work until stopped."""
        try:
            if not self.ready:
                await self._unless_stopped(self._make_ready_patiently)
            if self.engine is not None:
                await self._serve(self.engine)
        finally:
            await self.close()

    async def close(self) -> None:
        """End what is left of a lane that does not run: a process that no engine took over, the use of a release."""
        if self.executor is not None and not self._served:
            await self.executor.stop(self._context.config.process.stop_grace)
        self.releases.close()
        self._tell_waiting(DeploymentError("the worker stops", step="deploy"))

    async def _unless_stopped(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Await `work()`, which a stop ends early."""
        if self._stopping:
            return
        boot = self._boot = asyncio.create_task(work(), name=f"bootstrap {self.parent}")
        try:
            await asyncio.wait([boot])
        finally:
            self._boot = None
            boot.cancel()
            await asyncio.wait([boot])
        if not boot.cancelled():
            boot.result()

    async def _serve(self, engine: Engine) -> None:
        self._served = True
        if self._quiet:
            engine.quiet()
        if self._stopping:
            engine.request_stop()
        watch = asyncio.create_task(self._watch_degraded(engine), name=f"watch {self.parent}")
        try:
            await engine.run()
        finally:
            watch.cancel()

    async def _make_ready(self) -> None:
        registration = await self._register()
        meanwhile = asyncio.create_task(self._meanwhile(), name=f"meanwhile {self.parent}")
        try:
            executor = await self.releases.start(registration)
        except asyncio.CancelledError:
            meanwhile.cancel()
            raise
        finally:
            await asyncio.wait([meanwhile])
        meanwhile.result()
        from runqy_worker.app.parts import build_backend, build_engine  # noqa: PLC0415 - loaded while it was deployed

        self.backend = build_backend(
            *(self._context, self.weights, self.options, self._clock),
            store_result=registration.deployment.redis_storage,
        )
        if self._context.config.bootstrap.give_up:
            await self.backend.is_empty()  # else a Redis that can't be reached is waited for
        self.engine = build_engine(self._context, self.backend, executor, self._clock, self._renew_credentials)
        fields = {"parent": self.parent, "queues": ",".join(self.weights)}
        if self.release is not None:
            fields["release"] = self.release.name
        self._context.listener.notice(Notice("ready", f"{self.parent}: ready to run tasks", fields=fields))

    async def _meanwhile(self) -> None:
        """What can be done while the deploy's commands run."""
        await load_later_modules()
        await self._on_registered(self)

    async def reload(self, *, force: bool = False) -> Change | None:
        """Deploy what the server and the repository offer now, and switch to it; take over new settings too.

        A lane that is not ready yet tries again at once instead.

        Args:
            force: Switch also to what serves already, or was rolled back.

        Returns:
            What changed; None for a lane that only now became ready.

        Raises:
            RunqyError: The old release goes on serving.
        """
        async with self._changing:
            if self._stopping:
                raise DeploymentError("the worker is stopping", step="deploy")
            if self.executor is None:
                await self._become_ready()
                return None
            registration = await self._register(once=True)
            self._reconfigure()
            change = await self.releases.update(registration, force=force)
            if self.backend is not None:
                self.backend.set_store_result(registration.deployment.redis_storage)
            return change

    async def roll_back(self) -> Change:
        """Switch to the good release before the current one. The server is not asked.

        Raises:
            RunqyError: What served before goes on serving.
        """
        async with self._changing:
            if self._registration is None or self.executor is None:
                raise DeploymentError(f"{self.parent} is not ready yet", step="rollback")
            return await self.releases.roll_back(self._registration)

    def reconfigure(self, config: Config) -> None:
        """Use the settings of `config` that can change while it works."""
        self.releases.reconfigure(config)
        if self.engine is not None:
            self.engine.shutdown_timeout = config.worker.shutdown_timeout

    def quiet(self) -> None:
        """Stop claiming."""
        self._quiet = True
        if self.engine:
            self.engine.quiet()

    def resume(self) -> None:
        """Claim again."""
        self._quiet = False
        if self.engine:
            self.engine.resume()

    def request_stop(self) -> None:
        """Drain, or give up bootstrapping."""
        self._stopping = True
        if self._boot is not None:
            self._boot.cancel()
        if self.engine:
            self.engine.request_stop()

    def hurry(self) -> None:
        """Stop without waiting for running tasks."""
        self.request_stop()
        if self.engine:
            self.engine.hurry()

    async def _register(self, *, once: bool = False) -> Registration:
        source = self._context.source
        answers = [await (source.once(name) if once else source.register(name)) for name in self._queues]
        first = self._registration = answers[0]
        self.weights = {name: weight for answer in answers for name, weight in answer.weights.items()}
        old, self._options = self._options, redis_options(self._context.config.redis, first.redis)
        if old is not None and old != self._options:
            await self._on_moved(self, old)
        return first

    async def _make_ready_patiently(self) -> None:
        """Try for ever, with growing delay: a server that is down, a refused key, a broken commit may all heal."""
        context = self._context
        delay = context.config.bootstrap.retry_delay
        while True:
            try:
                await self._make_ready()
            except RunqyError as error:
                self._tell_waiting(error)
                if context.config.bootstrap.give_up:
                    raise
                pause = delay * context.rng.uniform(0.75, 1.25)
                message = f"{self.parent}: not ready, trying again in {pause:.0f} s: {error}"
                fields = {"parent": self.parent}
                context.listener.notice(Notice("bootstrap_failed", message, Level.ERROR, fields=fields))
                await self._pause(pause)
                delay = min(max(delay, 1.0) * 2, LONGEST_BOOTSTRAP_DELAY)
            else:
                self._tell_waiting(None)
                return

    async def _become_ready(self) -> None:
        """Let the next attempt to bootstrap begin now. Returns or raises what comes of it."""
        outcome = asyncio.get_running_loop().create_future()
        self._waiting.append(outcome)
        self._retry_now.set()
        error = await outcome
        if error is not None:
            raise error

    def _tell_waiting(self, error: RunqyError | None) -> None:
        """An attempt to bootstrap ended."""
        for outcome in self._waiting:
            if not outcome.done():
                outcome.set_result(error)
        self._waiting.clear()

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless a reload asks for another attempt now."""
        self._retry_now.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._retry_now.wait()
        except TimeoutError:
            return

    async def _watch_degraded(self, engine: Engine) -> None:
        await engine.degraded.wait()
        self.degraded.set()

    async def _renew_credentials(self) -> bool:
        """Redis refuses us: ask the server again, keep the process. Returns whether it answered."""
        context = self._context
        now = context.clock.monotonic()
        pause = min(CREDENTIALS_PAUSE, context.config.lease.duration * CREDENTIALS_SHARE)
        if now - self._credentials_asked < pause:
            return False
        self._credentials_asked = now
        try:
            registration = await self._register(once=True)
        except RunqyError as error:
            message = f"{self.parent}: Redis refuses our credentials and the server gave no new ones: {error}"
            context.listener.notice(Notice("credentials_failed", message, Level.ERROR, fields={"parent": self.parent}))
            return False
        self._reconfigure()
        if self.backend is not None:
            self.backend.set_store_result(registration.deployment.redis_storage)
        return True

    def _reconfigure(self) -> None:
        """Let the backend use new weights and credentials from its next operation on."""
        if self.backend is not None:
            self.backend.reconfigure(self.options)
            self.backend.set_weights(self.weights)
