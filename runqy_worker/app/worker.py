"""The worker: one process of this program, serving one or more parent queues."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from typing import TYPE_CHECKING

from runqy_worker.app.beats import Beats
from runqy_worker.app.condition import WorkerCondition
from runqy_worker.app.context import Context
from runqy_worker.app.deploys import Deploys
from runqy_worker.app.identity import make_worker_id
from runqy_worker.app.lane import Lane
from runqy_worker.app.mailbox import Mailbox
from runqy_worker.app.reconfiguring import reconfigured
from runqy_worker.app.retry_delay import guarded
from runqy_worker.config.model import Config
from runqy_worker.config.places import state_dir
from runqy_worker.deployment.local import LocalRegistrar
from runqy_worker.deployment.registration import Registrar
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.errors import ConfigError, DegradedError, RunqyError
from runqy_worker.domain.events import Fanout, Level, Notice
from runqy_worker.domain.queues import parent_of
from runqy_worker.engine.retrying import asynq_retry_delay
from runqy_worker.executors.reaper import reap_leftovers
from runqy_worker.telemetry.counts import Counts
from runqy_worker.telemetry.logs import LOGGER_NAME, configure_logging, release_logging, set_level
from runqy_worker.telemetry.task_log import TaskLog
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from runqy_worker.deployment.registration import Registers
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener
    from runqy_worker.engine.middleware import Middleware
    from runqy_worker.engine.retrying import RetryDelay


class Worker:
    """Registers, deploys, and works on tasks until asked to stop.

    From synchronous code: `bootstrap()` and then `run()`, or `run()` alone. From a running event loop:
    `await start()` and then `await serve()`, or `serve()` alone. The `request_*` methods, `quiet`, `resume` and
    `hurry` may be called from any thread and from signal handlers, also before it began. It works once: for a second
    time, make another.

    Args:
        config: From `load_config`.
        retry_delay: Seconds that a failed task waits; asynq's formula when not given.
        logger: Where log lines go. When not given, the logger `runqy_worker`, which is set up as `config.log` says
            while the worker works.
        middleware: Hooks around each task.
        listeners: Further listeners to what happens.
        burst: End once the queues are empty.
        reread: Gives the configuration as it is now, at each reload. Called in a thread.
        clock: Time.
        rng: For jitter.

    Attributes:
        config: In force now.
        counts: What was done since the start.
        lanes: One per parent queue.
        condition: How it is doing.
        deploys: Those of the running worker.
        needs_restart: Dotted keys of settings whose new values need a restart.

    Raises:
        ConfigError: The configuration names no queue.
        TypeError: `config` is something else, such as the name of a file.
    """

    def __init__(
        self,
        config: Config,
        *,
        retry_delay: RetryDelay | None = None,
        logger: logging.Logger | None = None,
        middleware: Iterable[Middleware] = (),
        listeners: Iterable[Listener] = (),
        burst: bool = False,
        reread: Callable[[], Config] | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if not isinstance(config, Config):
            raise TypeError(f"config: found {type(config).__name__}, expected what `load_config` returns")
        if not config.queues:
            raise ConfigError(("worker.queue: no queue is configured; expected a name such as `inference`",))
        self.config = config
        self.worker_id = make_worker_id()
        clock = clock or SystemClock()
        rng = self._rng = rng or random.Random()  # noqa: S311 - jitter, not secrets
        self._sets_up_log = logger is None
        logger = logger or logging.getLogger(LOGGER_NAME)
        self.counts = Counts(clock)
        self._task_log = TaskLog(logger, task_lines=config.log.task_lines, clock=clock)
        self._listener = Fanout(self._task_log, self.counts, *listeners)
        default_delay = asynq_retry_delay(rng)
        self._context = Context(
            config=config,
            source=self._make_source(config),
            worker_id=self.worker_id,
            listener=self._listener,
            clock=clock,
            rng=rng,
            retry_delay=guarded(retry_delay, default_delay, self._listener) if retry_delay else default_delay,
            middleware=tuple(middleware),
            burst=burst,
            state_dir=state_dir(config),
        )
        self._beats = Beats(self._context, logger)
        names = defaultdict(list)
        for queue in config.queues:
            names[parent_of(queue)].append(queue)
        self.lanes = [
            Lane(parent, tuple(queues), self._context, self._beats.add, self._beats.moved)
            for parent, queues in names.items()
        ]
        self.condition = WorkerCondition(self.lanes, self.counts, config)
        self._listener.add(self.condition)
        self.deploys = Deploys(self.lanes, self._listener, clock, self._reread)
        self._reread_config = reread
        self.needs_restart: tuple[str, ...] = ()
        self._runner: asyncio.Runner | None = None
        self._mailbox = Mailbox()
        self._over = False
        self._is_quiet = False

    @property
    def is_quiet(self) -> bool:
        """Whether it was asked to claim nothing."""
        return self._is_quiet

    @property
    def clock(self) -> Clock:
        """Time."""
        return self._context.clock

    @property
    def beats(self) -> Beats:
        """Its heartbeats."""
        return self._beats

    @property
    def listener(self) -> Fanout:
        """Everybody who hears what happens; more can be added."""
        return self._listener

    def bootstrap(self) -> None:
        """Register, deploy and start the task code; `run` then works.

        Raises:
            RunqyError: No parent queue could be made ready.
        """
        try:
            self._run(self.start)
        except BaseException:
            self._close_runner()
            raise

    def run(self) -> None:
        """Work until asked to stop.

        Raises:
            DegradedError: A process could not be kept alive and `recovery.on_degraded` is `exit`.
            RunqyError: It could not begin, and `bootstrap.give_up` is set.
        """
        try:
            self._run(self.serve)
        finally:
            self._close_runner()

    async def start(self) -> None:
        """`bootstrap` for asynchronous code. Lanes that fail while another succeeds are tried again by `serve`."""
        self._begin()
        try:
            await self._reap()
            results = await asyncio.gather(*(lane.bootstrap() for lane in self.lanes), return_exceptions=True)
            _raise_if_hopeless(results)
        except BaseException:
            await asyncio.gather(*(lane.close() for lane in self.lanes))
            await self._end()
            raise
        for lane, error in zip(self.lanes, results, strict=True):
            if error is not None:
                message = f"{lane.parent}: not ready, will be tried again: {error}"
                self._listener.notice(Notice("bootstrap_failed", message, Level.ERROR, fields={"parent": lane.parent}))

    async def serve(self) -> None:
        """`run` for asynchronous code. Cancelling it drains, too."""
        self._begin()
        if not any(lane.ready for lane in self.lanes):
            await self._reap()
        message = f"worker {self.worker_id} starting, version {__version__}"
        self._listener.notice(Notice("worker_started", message, fields={"queues": ",".join(self.config.queues)}))
        works = [asyncio.create_task(lane.run(), name=f"lane {lane.parent}") for lane in self.lanes]
        watch = asyncio.create_task(self._exit_when_degraded(), name="watch degraded")
        try:
            done, _ = await asyncio.wait([*works, watch], return_when=asyncio.FIRST_EXCEPTION)
            if any(work.exception() for work in done):
                self._stop_lanes()
            await asyncio.wait(works)
        except asyncio.CancelledError:
            self._stop_lanes()
            await asyncio.wait(works)
            raise
        finally:
            watch.cancel()
            await self.deploys.close()
            await asyncio.gather(watch, return_exceptions=True)
            self._task_log.flush()
            self._listener.notice(Notice("worker_stopped", f"worker {self.worker_id} stopped"))
            await self._end()
        for work in [*works, watch]:
            if not work.cancelled():
                work.result()

    def request_stop(self) -> None:
        """Drain, then end `run`. While bootstrapping: give that up."""
        self._mailbox.post(self._stop_lanes)

    def hurry(self) -> None:
        """Stop without waiting for running tasks; they are given back."""
        self._mailbox.post(self._hurry_lanes)

    def quiet(self) -> None:
        """Claim no more tasks; what runs goes on."""
        self._mailbox.post(self._quiet_lanes)

    def resume(self) -> None:
        """Claim tasks again."""
        self._mailbox.post(self._resume_lanes)

    def request_reload(self) -> None:
        """Deploy the newest commit in the background; on failure the old release goes on, and the log says why."""
        self._mailbox.post(self.deploys.deploy)

    async def reload(self) -> None:
        """Deploy the newest commit of every lane and switch to it.

        Raises:
            RunqyError: Of the first lane that failed; its old release goes on serving.
        """
        result = await asyncio.shield(self.deploys.deploy())
        if result.error is not None:
            raise result.error

    async def _exit_when_degraded(self) -> None:
        if self.config.recovery.on_degraded != "exit":
            return
        waits = [asyncio.create_task(lane.degraded.wait()) for lane in self.lanes]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        names = ", ".join(lane.parent for lane in self.lanes if lane.degraded.is_set())
        raise DegradedError(f"degraded: the process of {names} could not be kept alive; exiting to be started afresh")

    def _make_source(self, config: Config) -> Registers:
        if config.local.queues_file:
            return LocalRegistrar(config, listener=self._listener)
        return Registrar(config.server, config.bootstrap, listener=self._listener, version=__version__, rng=self._rng)

    async def _reread(self) -> None:
        """Read the configuration again, and take over what can change while working.

        Raises:
            ConfigError: It can't be used; everything stays as it was.
        """
        if self._reread_config is None:
            return
        new = reconfigured(self.config, await asyncio.to_thread(self._reread_config))
        self.needs_restart = new.left
        if new.left:
            keys = ", ".join(new.left)
            message = f"changed settings that need a restart, and are as before until then: {keys}"
            self._listener.notice(Notice("config_needs_restart", message, Level.WARNING, fields={"keys": keys}))
        if not new.taken:
            return
        config = self.config = self._context.config = new.config
        self._context.source = self._make_source(config)
        set_level(config.log.level)
        self._task_log.allow(config.log.task_lines)
        for lane in self.lanes:
            lane.reconfigure(config)
        keys = ", ".join(new.taken)
        self._listener.notice(
            Notice("config_reloaded", f"changed settings are in force: {keys}", fields={"keys": keys})
        )

    async def _reap(self) -> None:
        """End what a predecessor that was killed left behind."""
        count = await asyncio.to_thread(reap_leftovers, self._context.state_dir)
        if count:
            message = f"ended {count} process groups that a killed predecessor left behind"
            self._listener.notice(Notice("leftovers_reaped", message, Level.WARNING, fields={"groups": count}))

    def _quiet_lanes(self) -> None:
        self._is_quiet = True
        self._listener.notice(Notice("quiet", "no more tasks are claimed; what runs goes on"))
        for lane in self.lanes:
            lane.quiet()

    def _resume_lanes(self) -> None:
        if not self._is_quiet:
            return
        self._is_quiet = False
        self._listener.notice(Notice("resumed", "tasks are claimed again"))
        for lane in self.lanes:
            lane.resume()

    def _hurry_lanes(self) -> None:
        for lane in self.lanes:
            lane.hurry()

    def _stop_lanes(self) -> None:
        for lane in self.lanes:
            lane.request_stop()

    def _run(self, main: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("an event loop runs here already: await start() and serve() instead")
        if self._runner is None:
            self._runner = asyncio.Runner()
        self._runner.run(main())

    def _close_runner(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _begin(self) -> None:
        if self._over:
            raise RunqyError("this worker has ended: make another")
        if self._sets_up_log and not self._mailbox.is_open:
            configure_logging(self.config.log)
        self._mailbox.open()

    async def _end(self) -> None:
        self._over = True
        self._mailbox.close()
        await self._beats.leave()
        if self._sets_up_log:
            release_logging()


def _raise_if_hopeless(results: list[BaseException | None]) -> None:
    """Raise what went wrong, unless some lane is well and the others may be helped by trying again."""
    errors = [result for result in results if result is not None]
    unexpected = [error for error in errors if not isinstance(error, RunqyError)]
    if unexpected or len(errors) == len(results):
        raise (unexpected or errors)[0]
