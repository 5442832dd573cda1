"""The deployed releases of one lane, and the executor that runs the one in use."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.deployment.deployer import Deployer
from runqy_worker.domain.errors import DeploymentError, ExecutorStartError, RunqyError
from runqy_worker.domain.events import Level, Notice
from runqy_worker.domain.ports import ExecutorState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runqy_worker.app.context import Context
    from runqy_worker.config.model import Config
    from runqy_worker.deployment.answer import Registration
    from runqy_worker.deployment.releases import ReleaseDir
    from runqy_worker.domain.clock import SharedClock
    from runqy_worker.domain.launch import Launch
    from runqy_worker.executors.factory import SwitchableExecutor


@dataclass(frozen=True, slots=True)
class Change:
    """What a deploy or a rollback did to one lane.

    Attributes:
        release: In use now.
        before: Name of the release that was in use before.
        switched: Whether other processes took over; otherwise there was nothing new.
        pause: Seconds in which no task could start.
    """

    release: ReleaseDir
    before: str
    switched: bool
    pause: float = 0.0


class LaneReleases:
    """What runs in one lane.

    Args:
        parent: Name of the parent queue.
        context: What all lanes share.
        clock: The lane's.

    Attributes:
        release: In use; None before the first.
        executor: Runs it.
    """

    def __init__(self, parent: str, context: Context, clock: SharedClock) -> None:
        self._parent = parent
        self._context = context
        self._clock = clock
        self._deployer = Deployer(context.config, parent, listener=context.listener, clock=context.clock)
        self._launch: Launch | None = None
        self._starting = False
        self.release: ReleaseDir | None = None
        self.executor: SwitchableExecutor | None = None

    def work_is_quiet_for(self) -> float:
        """Seconds since a deploy last showed a sign of progress.

        A process that starts has a limit of its own, so no signs are asked for meanwhile.
        """
        return 0.0 if self._starting else time.monotonic() - self._deployer.activity.last

    async def start(self, registration: Registration) -> SwitchableExecutor:
        """Deploy and start; when the process does not become ready, start the release that worked before.

        Raises:
            RunqyError: Nothing could be started.
        """
        release = await self._deployer.deploy_or_fall_back(registration)
        try:
            executor, launch = await self._start_release(release, registration)
        except ExecutorStartError as error:
            last_good = self._deployer.last_good()
            if last_good is None or last_good.name == release.name:
                raise
            message = f"{self._parent}: release {release.name} does not start, so {last_good.name} runs on: {error}"
            fields = {"parent": self._parent, "release": last_good.name}
            self._context.listener.notice(Notice("start_fell_back", message, Level.ERROR, fields=fields))
            executor, launch = await self._start_release(last_good, registration)
            release = last_good
        self._adopt(release, launch)
        self.executor = executor
        return executor

    async def update(self, registration: Registration, *, force: bool = False) -> Change:
        """Deploy what the registration asks for, and switch to it unless it serves already.

        Args:
            registration: What to deploy.
            force: Switch in any case, also to a release that was rolled back.

        Raises:
            RunqyError: The old release goes on serving.
        """
        release = await self._deployer.deploy(registration, force=force)
        launch = self._deployer.launch(release, registration)
        if not force and self._serves(launch):
            return Change(release, release.name, switched=False)
        return await self._switch(release, launch)

    async def roll_back(self, registration: Registration) -> Change:
        """Switch to the good release before the current one, which is not deployed again by itself.

        Raises:
            RunqyError: There is none, or it does not start; what served before goes on.
        """
        release = self._deployer.rollback()
        try:
            launch = self._deployer.launch(release, registration)
            if not self._serves(launch):
                return await self._switch(release, launch)
            self._adopt(release, launch)
        except RunqyError:
            if self.release is not None:
                self._deployer.confirm(self.release)  # it serves on, and counts as good again
            raise
        return Change(release, release.name, switched=False)

    def all(self) -> list[ReleaseDir]:
        """Every complete release, the latest confirmed first. Reads the disk."""
        return self._deployer.releases()

    def reconfigure(self, config: Config) -> None:
        """Deploy with these settings from the next time on."""
        self._deployer.reconfigure(config)

    def close(self) -> None:
        """No release is used any more."""
        self._deployer.close()

    async def _start_release(
        self, release: ReleaseDir, registration: Registration
    ) -> tuple[SwitchableExecutor, Launch]:
        from runqy_worker.app.parts import build_executor  # noqa: PLC0415 - loaded while it was deployed

        launch = self._deployer.launch(release, registration)
        executor = build_executor(self._context, launch, self._clock)
        try:
            with self._while_starting():
                await executor.start()
        except BaseException:  # also when a stop ends the bootstrap: no process is left behind
            await executor.stop(self._context.config.process.stop_grace)
            raise
        return executor, launch

    async def _switch(self, release: ReleaseDir, launch: Launch) -> Change:
        if self.executor is None:
            raise DeploymentError(f"{self._parent} has not started yet", step="switch")
        config = self._context.config
        before = self.release.name if self.release else ""
        with self._while_starting():
            pause = await self.executor.switch(
                launch, mode=config.deployment.switch, drain=config.worker.shutdown_timeout
            )
        self._adopt(release, launch)
        return Change(release, before, switched=True, pause=pause)

    def _serves(self, launch: Launch) -> bool:
        """Whether this very thing runs already, and well."""
        well = self.executor is not None and self.executor.health().state is ExecutorState.READY
        return well and launch == self._launch

    def _adopt(self, release: ReleaseDir, launch: Launch) -> None:
        self.release, self._launch = release, launch
        self.release = self._deployer.confirm(release)

    @contextlib.contextmanager
    def _while_starting(self) -> Iterator[None]:
        self._starting = True
        try:
            yield
        finally:
            self._starting = False
