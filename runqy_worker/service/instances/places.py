"""Where an instance's files are, and which names it may have."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from runqy_worker.config.catalog import SETTINGS
from runqy_worker.config.masking import quoted
from runqy_worker.domain.errors import RunqyError

PROGRAM = "runqy-worker"
NAME_RULE = "1 to 64 letters, digits and . _ -, the first a letter or a digit"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", re.ASCII)
CREDENTIALS = tuple(entry.setting.credential for entry in SETTINGS.values() if entry.setting.credential)
"""Names of the credentials that the unit loads for an instance."""
ENCRYPTED = ".encrypted"
"""Stands behind the name by which the unit loads a credential that is encrypted; it is encrypted for that name."""


class InstanceError(RunqyError):
    """An instance can't be added or removed as asked; nothing was changed unless the text says so."""


def check_name(name: str) -> str:
    """The name, which becomes a part of a unit's name, of file names and of a socket's path.

    Raises:
        ValueError: It can't be used; the text says what was expected.
    """
    if _NAME.match(name) is None:
        raise ValueError(f"found {quoted(name)}, expected {NAME_RULE}")
    return name


def unit_of(name: str) -> str:
    """`runqy-worker@NAME.service`."""
    return f"{PROGRAM}@{name}.service"


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of a host.

    Attributes:
        root: `/`, or where a host's files are made ready.
    """

    root: Path = Path("/")

    @property
    def is_this_host(self) -> bool:
        """Whether it is the host that runs this, and not a tree that is made ready for another."""
        return self.root == Path("/")

    @property
    def main(self) -> Path:
        """The settings that all instances share."""
        return self.root / "etc/runqy-worker/config.yml"

    @property
    def instances(self) -> Path:
        """Directory of the instances' own settings."""
        return self.root / "etc/runqy-worker/instances"

    @property
    def store(self) -> Path:
        """Systemd's store of plain credentials."""
        return self.root / "etc/credstore"

    @property
    def encrypted_store(self) -> Path:
        """Its store of encrypted ones."""
        return self.root / "etc/credstore.encrypted"

    def names(self) -> list[str]:
        """The instances that have settings of their own, sorted."""
        return sorted(path.stem for path in self.instances.glob("*.yml") if _NAME.match(path.stem))

    def of(self, name: str) -> InstancePlaces:
        """The files of one instance."""
        return InstancePlaces(self, name)


@dataclass(frozen=True, slots=True)
class InstancePlaces:
    """The files and directories of one instance. They need not exist."""

    host: Places
    name: str

    @property
    def settings(self) -> Path:
        """Its settings. With this file it exists."""
        return self.host.instances / f"{self.name}.yml"

    @property
    def variables(self) -> Path:
        """Its environment variables."""
        return self.host.instances / f"{self.name}.env"

    @property
    def drop_ins(self) -> Path:
        """Directory of what changes its unit."""
        return self.host.root / "etc/systemd/system" / f"{unit_of(self.name)}.d"

    @property
    def cuda(self) -> Path:
        """The drop-in that lets it use GPUs."""
        return self.drop_ins / "cuda.conf"

    @property
    def state(self) -> Path:
        """Deployed releases, environments, and the task code's home."""
        return self.host.root / "var/lib/runqy-worker" / self.name

    @property
    def data(self) -> tuple[Path, ...]:
        """Everything that it writes and that outlives it."""
        kinds = ("lib", "cache", "log")
        return tuple(self.host.root / "var" / kind / PROGRAM / self.name for kind in kinds)

    @property
    def runtime(self) -> Path:
        """Its sockets."""
        return self.host.root / "run/runqy-worker" / self.name

    def credential(self, credential: str, *, encrypted: bool = False) -> Path:
        """Where systemd looks for one of its secrets."""
        store = self.host.encrypted_store if encrypted else self.host.store
        return store / f"{PROGRAM}.{self.name}.{credential}"

    def stored(self) -> dict[str, Path]:
        """Credential name -> file, of those that are there; the encrypted one, which wins, where both are."""
        found = {}
        for credential in CREDENTIALS:
            for encrypted in (True, False):
                path = self.credential(credential, encrypted=encrypted)
                if credential not in found and os.path.lexists(path):
                    found[credential] = path
        return found

    def files(self) -> list[Path]:
        """Every file of it that is there, but not what it writes itself."""
        named = [self.settings, self.variables]
        named += [self.credential(each, encrypted=encrypted) for each in CREDENTIALS for encrypted in (False, True)]
        if self.drop_ins.is_dir():
            named += sorted(self.drop_ins.iterdir())
        return [path for path in named if os.path.lexists(path)]
