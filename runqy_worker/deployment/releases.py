"""The deployed releases of one parent queue: a directory each, and a pointer to the one that serves.

    releases/<parent>/<id>/code/            the checkout
    releases/<parent>/<id>/environment      link to the environment
    releases/<parent>/<id>/release.json     written last: without it the release is half-made
    releases/<parent>/<id>/lease            locked by each worker that uses the release
    releases/<parent>/current               link to the release that last proved itself ready

A release is built where it stays, because installed packages may point into it. Whatever has no release.json while
nobody deploys was left by an interrupted deploy, and is removed by the next.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runqy_worker.deployment.locks import FileLock
from runqy_worker.deployment.release_record import ReleaseRecord, read_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.domain.clock import Clock

_CURRENT = "current"
_LEASE = "lease"
_TRASH = ".tmp-"


@dataclass(frozen=True, slots=True)
class ReleaseDir:
    """One deployed release.

    Attributes:
        path: Its directory.
        record: What is remembered of it.
    """

    path: Path
    record: ReleaseRecord

    @property
    def name(self) -> str:
        """Short name, for logs and status."""
        return self.record.id

    @property
    def checkout(self) -> Path:
        """The repository's root."""
        return self.path / "code"

    @property
    def code(self) -> Path:
        """The task code's folder."""
        return self.checkout / self.record.code_path

    @property
    def environment(self) -> Path:
        """Its virtual environment, by its real path, which is the one that its scripts name."""
        return (self.path / "environment").resolve()


class Releases:
    """The releases of one parent queue. The methods block on the disk: those that remove trees belong in a thread.

    Args:
        root: Their directory.
        clock: Tells when a release was confirmed.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root = root
        self._clock = clock
        self._leases: dict[str, FileLock] = {}

    @property
    def lock_path(self) -> Path:
        """Held while deploying."""
        return self.root / ".deploy.lock"

    def prepare(self, release_id: str) -> Path:
        """An empty directory for a release that is to be made. The deploy lock is held."""
        path = self.root / release_id
        self._remove(path)
        path.mkdir(parents=True)
        return path

    def finish(self, path: Path, record: ReleaseRecord, environment: Path) -> ReleaseDir:
        """Complete a release: from now on it exists, leased by this process."""
        link(path / "environment", environment)
        self.lease(path)
        try:
            write_record(path, record)
        except BaseException:
            self.let_go(path.name)
            raise
        return ReleaseDir(path, record)

    def discard(self, path: Path) -> None:
        """Remove what was made of a release so far."""
        self._remove(path)

    def sweep(self) -> list[str]:
        """Remove what interrupted deploys left. The deploy lock is held, so none is under way. Returns names."""
        left = [path for path in self._folders() if not (path / "release.json").exists()]
        left += list(self.root.glob(f"{_TRASH}*"))
        for path in left:
            self._remove(path)
        return [path.name for path in left]

    def find(self, release_id: str) -> ReleaseDir | None:
        """A complete release by its id."""
        path = self.root / release_id
        record = read_record(path)
        return ReleaseDir(path, record) if record is not None else None

    def all(self) -> list[ReleaseDir]:
        """Every complete release, the latest confirmed first."""
        found = [(path, read_record(path)) for path in self._folders()]
        releases = [ReleaseDir(path, record) for path, record in found if record is not None]
        return sorted(releases, key=lambda one: (one.record.confirmed_at, one.record.made_at), reverse=True)

    def current(self) -> ReleaseDir | None:
        """The release that the pointer names."""
        try:
            name = (self.root / _CURRENT).readlink().name
        except OSError:
            return None
        return self.find(name)

    def good(self) -> list[ReleaseDir]:
        """Releases that proved themselves ready and can be started: the current one first, then the latest."""
        current = self.current()
        usable = [one for one in self.all() if one.record.ok and (one.environment / "bin" / "python").exists()]
        return sorted(usable, key=lambda one: current is None or one.name != current.name)

    def confirm(self, release: ReleaseDir) -> ReleaseDir:
        """The release is ready: it becomes the current one, if it is not already."""
        current = self.current()
        if current is not None and current.name == release.name and current.record.ok:
            return current
        record = (read_record(release.path) or release.record).confirmed(self._clock.time())
        write_record(release.path, record)
        link(self.root / _CURRENT, release.path.relative_to(self.root))
        return replace(release, record=record)

    def reject(self, release: ReleaseDir) -> None:
        """The release was rolled back: it no longer counts as good."""
        write_record(release.path, (read_record(release.path) or release.record).rejected())

    def forget(self) -> None:
        """Whatever proved itself before counts no more: a release that is made or found next must do so again."""
        (self.root / _CURRENT).unlink(missing_ok=True)
        for release in self.all():
            write_record(release.path, replace(release.record, ok=False))

    def lease(self, path: Path) -> bool:
        """Keep a release from being pruned while this process uses it.

        Returns:
            False when the release is not there, or is being removed already.
        """
        if path.name in self._leases:
            return True
        lock = FileLock(path / _LEASE)
        if not path.is_dir() or not lock.try_take(shared=True):
            lock.drop()
            return False
        self._leases[path.name] = lock
        return True

    def let_go(self, name: str) -> None:
        """This process has no more need of the release."""
        lock = self._leases.pop(name, None)
        if lock is not None:
            lock.drop()

    def let_go_except(self, *names: str) -> None:
        """This process has no more need of any others."""
        for name in set(self._leases) - set(names):
            self.let_go(name)

    def prune(self, keep: int) -> list[str]:
        """Remove old releases. Never the current one, nor one that any worker leases.

        Args:
            keep: How many good releases stay beside the current one.

        Returns:
            The names of those removed.
        """
        current = self.current()
        others = [one for one in self.all() if current is None or one.name != current.name]
        good = [one for one in others if one.record.ok]
        unproven = sorted((one for one in others if not one.record.ok), key=lambda one: one.record.made_at)
        # The newest of the others is what the next attempt, or the next refusal after a rollback, is about.
        spared = {one.name for one in (*good[:keep], *unproven[-1:])}
        removed = []
        for release in others:
            if release.name in spared or release.name in self._leases:
                continue
            lease = FileLock(release.path / _LEASE)
            if lease.try_take():
                self._remove(release.path)
                removed.append(release.name)
            lease.drop()
        return removed

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return [path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]

    def _remove(self, path: Path) -> None:
        """Out of sight first, so that nobody finds it half removed."""
        if not path.exists():
            return
        trash = path if path.name.startswith(_TRASH) else path.with_name(f"{_TRASH}{path.name}-{os.getpid()}")
        if trash != path:
            shutil.rmtree(trash, ignore_errors=True)
            path.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)


def link(path: Path, target: Path) -> None:
    """Point the link `path` to `target`, in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
