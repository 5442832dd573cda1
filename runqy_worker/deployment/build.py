"""One deploy, step by step: from a registration to a complete release."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from runqy_worker.deployment.checkout import Checkout, clean_code_path
from runqy_worker.deployment.child_environment import service_environment
from runqy_worker.deployment.dependencies import find_dependencies
from runqy_worker.deployment.git_access import GitAccess
from runqy_worker.deployment.git_commands import Git
from runqy_worker.deployment.git_mirror import GitMirror
from runqy_worker.deployment.indexes import Indexes
from runqy_worker.deployment.installers import Installer, installer_environment
from runqy_worker.deployment.interpreter import InterpreterFinder, find_uv
from runqy_worker.deployment.locks import locked
from runqy_worker.deployment.redaction import Redactor
from runqy_worker.deployment.release_record import ReleaseRecord
from runqy_worker.deployment.remote import Remote, Transport, parse_remote
from runqy_worker.deployment.together import both
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Level, Listener, Notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from pathlib import Path

    from runqy_worker.config.model import Config
    from runqy_worker.deployment.answer import Registration
    from runqy_worker.deployment.commands import Activity
    from runqy_worker.deployment.environment import Environment, Environments
    from runqy_worker.deployment.releases import ReleaseDir, Releases
    from runqy_worker.deployment.secret_files import SecretFiles

_HASH_LENGTH = 8
_COMMIT_LENGTH = 12
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are below `deployment.dir`, and who is told.

    Attributes:
        root: The directory itself, absolute.
        releases: The parent queue's releases.
        environments: All environments.
        listener: Hears of the steps.
        activity: Beats while something moves.
        environ: The daemon's environment.
    """

    root: Path
    releases: Releases
    environments: Environments
    listener: Listener
    activity: Activity
    environ: Mapping[str, str]


class Build:
    """One deploy. The caller holds the parent queue's deploy lock.

    Args:
        config: The whole configuration.
        registration: What to deploy.
        places: Where to.
        secrets: Takes credentials for git and the installers.
    """

    def __init__(self, config: Config, registration: Registration, places: Places, secrets: SecretFiles) -> None:
        self._config = config
        self._spec = registration.deployment
        self._places = places
        self._environ = service_environment(places.environ)
        self._ref = "" if self._spec.branch == "HEAD" else self._spec.branch
        remote = parse_remote(self._spec.git_url)
        self._code_path = clean_code_path(self._spec.code_path)
        state = places.root / "git"
        access = GitAccess(
            remote, config.git, token=registration.git_token, secrets=secrets, environ=self._environ, state=state
        )
        self._indexes = Indexes(config.deployment)
        self._redact = Redactor(*access.secrets, *registration.secrets, *self._indexes.secrets)
        self._git = Git(remote, access, config.git, places.listener, self._redact, places.activity, self._ref)
        self._mirror = GitMirror(self._git, state / remote.key)
        self._variables = self._indexes.variables(secrets) | access.for_others()
        self._warn_of_plain_http(remote, has_token=bool(access.password))

    async def run(self) -> ReleaseDir:
        """Do it. The release is leased.

        Raises:
            DeploymentError: A step failed; nothing of a new release is left.
        """
        mirror_lock = self._mirror.path.with_suffix(".lock")
        timeout = self._config.deployment.timeout
        async with locked(mirror_lock, step="clone", timeout=timeout):
            self._tell("deploy_fetching", f"asking {self._git.remote.url} for {self._ref or 'the default branch'}")
            partial = bool(self._code_path) and self._git.remote.transport is not Transport.LOCAL
            installer, commit = await both(self._installer(), self._mirror.fetch(self._ref, partial=partial))
            release_id = self._release_id(commit, installer)
            there = await asyncio.to_thread(self._existing, release_id)
            if there is None:
                path = await asyncio.to_thread(self._places.releases.prepare, release_id)
                await self._undone_on_error(path, self._check_out(path, commit))
        if there is not None:
            return await self._with_environment(there, installer)
        return await self._undone_on_error(path, self._complete(path, commit, installer))

    def _existing(self, release_id: str) -> ReleaseDir | None:
        """The release, if it was deployed before; leased against a clean-up."""
        releases = self._places.releases
        if not releases.lease(releases.root / release_id):
            return None
        found = releases.find(release_id)
        if found is None:
            releases.let_go(release_id)
        return found

    async def _check_out(self, path: Path, commit: str) -> None:
        self._tell("deploy_checking_out", f"checking out {commit[:_COMMIT_LENGTH]}", commit=commit)
        await Checkout(self._git, self._mirror.path, path / "code").materialise(commit, self._code_path)

    async def _complete(self, path: Path, commit: str, installer: Installer) -> ReleaseDir:
        environment = await self._environment(path, installer)
        try:
            record = ReleaseRecord(
                id=path.name,
                commit=commit,
                url=self._git.remote.url,
                ref=self._ref,
                code_path=self._code_path,
                environment=environment.key,
                startup_cmd=self._spec.startup_cmd,
                mode=self._spec.mode.value,
                made_at=time.time(),
            )
            release = await asyncio.to_thread(self._places.releases.finish, path, record, environment.path)
        finally:
            environment.release()
        return release

    async def _with_environment(self, release: ReleaseDir, installer: Installer) -> ReleaseDir:
        """An earlier release; its environment is made again if somebody removed it."""
        environment = await self._environment(release.path, installer)
        environment.release()
        self._tell("deploy_unchanged", f"the release {release.name} is deployed already", release=release.name)
        return release

    async def _environment(self, path: Path, installer: Installer) -> Environment:
        code = path / "code"
        dependencies = await asyncio.to_thread(
            find_dependencies, code, code / self._code_path, self._spec.requirements_file
        )
        return await self._places.environments.ensure(
            dependencies, installer, release_id=path.name, indexes=self._indexes.identity
        )

    async def _installer(self) -> Installer:
        deployment = self._config.deployment
        uv = find_uv(self._environ) if deployment.installer in {"auto", "uv"} else None
        if deployment.installer == "uv" and uv is None:
            message = "deployment.installer is uv, but there is no uv on PATH: install it, or set `auto` or `venv`"
            raise DeploymentError(message, step="environment", retryable=False)
        interpreter = await InterpreterFinder(self._environ, uv).find(deployment.python)
        return Installer(
            interpreter=interpreter,
            uv=uv,
            shared=deployment.use_system_site_packages,
            environ=installer_environment(self._environ, self._places.root / "cache") | self._variables,
            timeout=deployment.timeout,
            listener=self._places.listener,
            redact=self._redact,
            activity=self._places.activity,
        )

    def _release_id(self, commit: str, installer: Installer) -> str:
        """Changes with everything that makes the release what it is."""
        options = (
            self._git.remote.url,
            self._ref,
            self._code_path,
            self._spec.startup_cmd,
            self._spec.mode.value,
            self._spec.requirements_file,
            installer.interpreter.identity,
            repr(installer.interpreter.packages) if installer.shared else "isolated",
            "uv" if installer.uv else "venv",
            self._indexes.identity,
        )
        digest = hashlib.sha256("\0".join(options).encode()).hexdigest()
        return f"{commit[:_COMMIT_LENGTH]}-{digest[:_HASH_LENGTH]}"

    async def _undone_on_error(self, path: Path, step: Awaitable[_Result]) -> _Result:
        try:
            return await step
        except BaseException:
            await asyncio.to_thread(self._places.releases.discard, path)
            raise

    def _warn_of_plain_http(self, remote: Remote, *, has_token: bool) -> None:
        if has_token and remote.transport is Transport.HTTP and remote.url.startswith("http:"):
            message = f"the token for {remote.origin} travels unencrypted: use https"
            self._places.listener.notice(Notice("git_token_unencrypted", message, Level.WARNING))

    def _tell(self, action: str, message: str, **fields: object) -> None:
        self._places.listener.notice(Notice(action, message, fields=fields))
