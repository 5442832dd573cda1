"""Environments for the task code, made once for each distinct need and shared by all releases with that need.

A virtual environment can't be moved, for its scripts name their interpreter by absolute path. So it is made where
it will stay, and counts only once its marker file is there, which is written last. A lock keeps other workers that
share the directory from using or removing a half-made one; what an interrupted deploy left is removed by the next.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.deployment.dependencies import Dependencies, Kind
from runqy_worker.deployment.locks import FileLock, wait_for
from runqy_worker.domain.events import Level, Listener, Notice

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.deployment.installers import Installer

_MARKER = ".runqy-complete.json"
_LAYOUT = "1"
_KEY_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Environment:
    """A complete environment, leased: nobody removes it before `release`.

    Attributes:
        key: Names it.
        path: Where it is.
        lease: The lock that keeps it.
    """

    key: str
    path: Path
    lease: FileLock

    def release(self) -> None:
        """Let it go; a release's record keeps it from here on."""
        self.lease.drop()


class Environments:
    """The environments below one deployment directory.

    Args:
        root: Their directory.
        listener: Hears of what is made.
        timeout: Seconds to wait for another worker that makes the same one.
    """

    def __init__(self, root: Path, listener: Listener, *, timeout: float) -> None:
        self.root = root
        self._listener = listener
        self.timeout = timeout

    async def ensure(
        self, dependencies: Dependencies, installer: Installer, *, release_id: str, indexes: str
    ) -> Environment:
        """The environment for these dependencies; made now unless it is there.

        Args:
            dependencies: What is to be installed.
            installer: What makes it.
            release_id: Names the release, for environments that can't be shared between releases.
            indexes: Identity of the package indexes.

        Raises:
            DeploymentError: It can't be made; nothing of it is left.
        """
        key = environment_key(dependencies, installer, release_id=release_id, indexes=indexes)
        path = self.root / key
        lease = FileLock(self.root / f"{key}.lock")
        try:
            while not await self._leased(lease, path):
                await self._make(lease, path, dependencies, installer)
        except BaseException:
            lease.drop()
            raise
        return Environment(key, path, lease)

    async def _leased(self, lease: FileLock, path: Path) -> bool:
        await wait_for(lease, step="environment", timeout=self.timeout, shared=True, on_wait=self._waiting)
        return await asyncio.to_thread(is_complete, path)

    async def _make(self, lease: FileLock, path: Path, dependencies: Dependencies, installer: Installer) -> None:
        lease.drop()
        await wait_for(lease, step="environment", timeout=self.timeout, on_wait=self._waiting)
        if await asyncio.to_thread(is_complete, path):
            return  # another worker was quicker
        await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        started = time.monotonic()
        name = dependencies.file.name if dependencies.file else "no dependency file"
        python = installer.interpreter.short
        self._tell("environment_building", f"making an environment with Python {python} for {name}", key=path.name)
        try:
            await installer.create(path)
            await self._install(path, dependencies, installer)
            await asyncio.to_thread(_mark, path, installer)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
            raise
        seconds = round(time.monotonic() - started, 1)
        self._tell("environment_ready", f"the environment is ready after {seconds} s", key=path.name, seconds=seconds)

    async def _install(self, path: Path, dependencies: Dependencies, installer: Installer) -> None:
        if dependencies.kind is Kind.NONE:
            return
        file, folder = dependencies.file, dependencies.folder
        assert file is not None  # noqa: S101 - only Kind.NONE has no file
        if dependencies.kind is Kind.REQUIREMENTS:
            await installer.install(path, ["-r", str(file)], folder=folder, name=file.name)
            return
        project = [str(folder)] if dependencies.install_project else []
        if dependencies.locked and installer.uv is not None:
            listed = path / "uv-lock.txt"
            await installer.export_lock(folder, listed)
            await installer.install(path, ["-r", str(listed)], folder=folder, name="uv.lock")
            if project:
                await installer.install(path, ["--no-deps", *project], folder=folder, name=file.name)
            return
        if dependencies.locked:
            message = "uv is not installed, so uv.lock is not followed: versions are chosen anew"
            self._listener.notice(Notice("uv_lock_ignored", message, Level.WARNING))
        if project:
            await installer.install(path, project, folder=folder, name=file.name)
        elif dependencies.requirements:
            listed = path / "pyproject-requirements.txt"
            await asyncio.to_thread(listed.write_text, "\n".join(dependencies.requirements) + "\n")
            await installer.install(path, ["-r", str(listed)], folder=folder, name=file.name)

    def prune(self, referenced: set[str]) -> list[str]:
        """Remove environments that no release refers to and nobody leases. Returns their keys. Blocking."""
        removed = []
        for path in self.root.glob("*.lock"):
            key = path.stem
            if key in referenced:
                continue
            lock = FileLock(path)
            if lock.try_take():
                if (self.root / key).exists():
                    shutil.rmtree(self.root / key, ignore_errors=True)
                    removed.append(key)
                path.unlink(missing_ok=True)
            lock.drop()
        return removed

    def _waiting(self) -> None:
        self._tell("environment_waiting", "waiting for another worker that makes the same environment")

    def _tell(self, action: str, message: str, **fields: object) -> None:
        self._listener.notice(Notice(action, message, fields=fields))


def environment_key(dependencies: Dependencies, installer: Installer, *, release_id: str, indexes: str) -> str:
    """A name that changes with everything that the environment's contents depend on."""
    parts = [
        _LAYOUT,
        installer.interpreter.identity,
        "uv" if installer.uv is not None else "venv",
        repr(installer.interpreter.packages) if installer.shared else "isolated",
        indexes,
        dependencies.kind.value,
        str(dependencies.install_project),
        dependencies.fingerprint,
        release_id if dependencies.tied else "",
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_KEY_LENGTH]


def is_complete(path: Path) -> bool:
    """Whether the environment was finished and its interpreter is still there."""
    return (path / _MARKER).is_file() and (path / "bin" / "python").exists()


def _mark(path: Path, installer: Installer) -> None:
    about = {"python": str(installer.interpreter.executable), "version": installer.interpreter.version}
    temporary = path / f"{_MARKER}.new"
    with temporary.open("w") as file:
        json.dump(about, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path / _MARKER)
