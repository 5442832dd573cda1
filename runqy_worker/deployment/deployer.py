"""Deploying the task code of one parent queue: new releases, the last good one, and the way back."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.deployment.build import Build, Places
from runqy_worker.deployment.cleaning import prune_shared
from runqy_worker.deployment.commands import Activity
from runqy_worker.deployment.environment import Environments
from runqy_worker.deployment.launching import make_launch, split_command
from runqy_worker.deployment.locks import locked
from runqy_worker.deployment.releases import ReleaseDir, Releases
from runqy_worker.deployment.secret_files import SecretFiles
from runqy_worker.domain.clock import Clock, SystemClock
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Level, Listener, Notice, Silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import Config
    from runqy_worker.deployment.answer import Registration
    from runqy_worker.domain.launch import Launch

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Deployer:
    """Deploys one parent queue. Several workers may share `deployment.dir`.

    Every release that it hands out is leased: no clean-up of any worker removes it while this one may use it, which
    is until another two have been confirmed, or until `close`.

    Args:
        config: The whole configuration.
        parent: The parent queue's name.
        listener: Hears of steps and of the commands' output.
        environ: The daemon's environment; its own by default.
        clock: Tells when releases were confirmed.

    Attributes:
        activity: When a deploy last showed life, for keeping the service manager patient.
    """

    def __init__(
        self,
        config: Config,
        parent: str,
        *,
        listener: Listener | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._listener = listener or Silent()
        self._environ = os.environ if environ is None else environ
        self.activity = Activity()
        self._confirmed = ""
        root = Path(config.deployment.dir).absolute()
        self._releases = Releases(root / "releases" / parent, clock or SystemClock())
        environments = Environments(root / "environments", self._listener, timeout=config.deployment.timeout)
        self._places = Places(root, self._releases, environments, self._listener, self.activity, self._environ)

    async def deploy(self, registration: Registration, *, force: bool = False) -> ReleaseDir:
        """Make the release that the registration asks for, or find it made already.

        A release that was rolled back is not handed out again while another good one is there.

        Args:
            registration: What to deploy.
            force: Hand out a rolled-back release, too.

        Returns:
            The release, leased. It is not current before `confirm`.

        Raises:
            DeploymentError: It failed; whatever served before still can.
        """
        limit = self._config.deployment.timeout
        try:
            async with asyncio.timeout(limit) as timer:
                release = await self._build(registration)
        except TimeoutError:
            if not timer.expired():
                raise
            message = f"the deploy took longer than {limit:g} s (deployment.timeout)"
            raise DeploymentError(message, step="deploy") from None
        except OSError as error:
            raise self._disk_error(error) from error
        if release.record.rolled_back and not force:
            return self._instead_of(release)
        self._tell("deploy_finished", f"release {release.name} is deployed", release=release.name)
        return release

    async def deploy_or_fall_back(self, registration: Registration) -> ReleaseDir:
        """Deploy, or when that fails hand out the last good release, and say so loudly.

        Raises:
            DeploymentError: It failed, and there is no good release.
        """
        try:
            return await self.deploy(registration)
        except DeploymentError as error:
            good = self.last_good()
            if good is None:
                raise
            message = f"deploying failed, so the last good release {good.name} runs on: {error}"
            fields = {"release": good.name, "step": error.step, "error": str(error)}
            self._listener.notice(Notice("deploy_fell_back", message, Level.ERROR, fields=fields))
            return good

    def launch(self, release: ReleaseDir, registration: Registration) -> Launch:
        """How to start the release's task code.

        Raises:
            DeploymentError: The startup command can't be used.
        """
        return make_launch(
            release,
            registration,
            environ=self._environ,
            clean=self._config.deployment.environment == "clean",
            listener=self._listener,
        )

    def confirm(self, release: ReleaseDir) -> ReleaseDir:
        """The release proved itself ready: make it current.

        Returns:
            The release with its new record.

        Raises:
            DeploymentError: The pointer can't be written.
        """
        try:
            confirmed = self._releases.confirm(release)
        except OSError as error:
            raise self._disk_error(error, step="confirm") from error
        self._releases.let_go_except(release.name, self._confirmed)  # the one before may still be draining
        self._confirmed = release.name
        return confirmed

    async def prune(self) -> list[str]:
        """Remove releases, environments and mirrors that are no longer needed. Each `deploy` does this, too.

        Returns:
            The names of those removed.
        """
        async with locked(self._releases.lock_path, step="prune", timeout=self._config.deployment.timeout):
            return await self._prune()

    def last_good(self) -> ReleaseDir | None:
        """The current release, or else the last one that proved itself ready; leased. None when there is none."""
        return next((one for one in self._releases.good() if self._releases.lease(one.path)), None)

    def rollback(self) -> ReleaseDir:
        """Give up the current release for the good one before it.

        Returns:
            That one, leased. Start it, and `confirm` it when it is ready.

        Raises:
            DeploymentError: There is no other good release.
        """
        current = self._releases.current()
        for release in self._releases.good():
            is_current = current is not None and release.name == current.name
            if not is_current and self._releases.lease(release.path):
                if current is not None:
                    self._releases.reject(current)
                self._tell("deploy_rolled_back", f"going back to release {release.name}", release=release.name)
                return release
        message = "there is no earlier good release to go back to"
        raise DeploymentError(message, step="rollback", retryable=False)

    def releases(self) -> list[ReleaseDir]:
        """Every complete release, the latest confirmed first."""
        return self._releases.all()

    def current(self) -> ReleaseDir | None:
        """The release that last proved itself ready."""
        return self._releases.current()

    def reconfigure(self, config: Config) -> None:
        """Deploy with these settings from the next time on; the directory stays the one that it was made with."""
        self._config = config
        self._places.environments.timeout = config.deployment.timeout

    def close(self) -> None:
        """This worker uses no release any more."""
        self._releases.let_go_except()

    async def _build(self, registration: Registration) -> ReleaseDir:
        self.activity.beat()
        split_command(registration.deployment.startup_cmd)  # a wrong command is told before any download
        limit = self._config.deployment.timeout
        async with locked(self._releases.lock_path, step="deploy", timeout=limit, on_wait=self._waiting):
            left = await asyncio.to_thread(self._releases.sweep)
            if left:
                self._tell("deploy_swept", f"removed {len(left)} unfinished releases of an interrupted deploy")
            await self._prune()
            with SecretFiles(self._environ) as secrets:
                return await Build(self._config, registration, self._places, secrets).run()

    def _instead_of(self, release: ReleaseDir) -> ReleaseDir:
        good = self.last_good()
        if good is None:
            return release
        message = f"release {release.name} was rolled back before; {good.name} runs until the branch moves on"
        self._listener.notice(Notice("deploy_rolled_back_before", message, Level.WARNING))
        return good

    async def _prune(self) -> list[str]:
        removed = await asyncio.to_thread(self._releases.prune, self._config.deployment.keep_releases)
        removed += await asyncio.to_thread(prune_shared, self._places.root, self._places.environments)
        if removed:
            message = f"removed {len(removed)} old releases, environments and mirrors"
            self._tell("deploy_pruned", message, removed=removed)
        return removed

    def _disk_error(self, error: OSError, *, step: str = "deploy") -> DeploymentError:
        if error.errno in _FULL:
            free = shutil.disk_usage(_existing(self._places.root)).free
            where = f"{self._places.root} ({free // 1024} KiB free)"
            return DeploymentError(f"the disk is full: {where}", step=step)
        return DeploymentError(f"{error.filename or self._places.root}: {error.strerror or error}", step=step)

    def _waiting(self) -> None:
        self._tell("deploy_waiting", "waiting for another worker that deploys the same queue")

    def _tell(self, action: str, message: str, **fields: object) -> None:
        self._listener.notice(Notice(action, message, fields=fields))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
