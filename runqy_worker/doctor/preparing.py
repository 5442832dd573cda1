"""Makes a `Subject`: reads an instance's files as its service would, its secrets included."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.config.loading import load_with_origins
from runqy_worker.deployment.queues_check import check_queues_file
from runqy_worker.doctor.account import account_of, own_account
from runqy_worker.doctor.subject import Subject
from runqy_worker.domain.errors import ConfigError
from runqy_worker.service import systemctl
from runqy_worker.service.instances.places import ENCRYPTED, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runqy_worker.doctor.account import Account
    from runqy_worker.service.instances.places import InstancePlaces

USER = "runqy-worker"
_SHELL_ONLY = frozenset(("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM", "INVOCATION_ID"))
_BASE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_DECRYPTING = 20.0


@contextlib.contextmanager
def of_instance(places: InstancePlaces) -> Iterator[Subject]:
    """An instance, of which there may be a unit and a process or not.

    Raises:
        SystemctlError: systemd does not answer.
    """
    unit = systemctl.state_of(unit_of(places.name)) if places.host.is_this_host else None
    account = (account_of(unit.get("User") if unit and unit.get("User") else USER) if os.geteuid() == 0 else None) or (
        own_account()
    )
    environ = {**_BASE, "HOME": account.home, "USER": account.name, "LOGNAME": account.name}
    environ |= _unit_environment(unit) | _variables(places.variables)
    with _scratch(account) as scratch:
        unread = _copy_credentials(places, scratch / "credentials", account)
        environ["CREDENTIALS_DIRECTORY"] = str(scratch / "credentials")
        yield _subject(
            places.host.main, environ, account, scratch, places=places, unit=unit, unread=unread, instance=places.name
        )


@contextlib.contextmanager
def of_file(config: str | None) -> Iterator[Subject]:
    """A worker that somebody would start here and now with this configuration file (the default one when None)."""
    account = own_account()
    environ = {name: value for name, value in os.environ.items() if name not in _SHELL_ONLY - {"CREDENTIALS_DIRECTORY"}}
    with _scratch(account) as scratch:
        yield _subject(config, environ, account, scratch)


def _subject(
    main: str | Path | None,
    environ: Mapping[str, str],
    account: Account,
    scratch: Path,
    *,
    places: InstancePlaces | None = None,
    unit: systemctl.UnitState | None = None,
    unread: Mapping[str, str] | None = None,
    instance: str | None = None,
) -> Subject:
    loaded = None
    problems: tuple[str, ...] = ()
    try:
        loaded = load_with_origins(
            main,
            environ=environ,
            instance=instance,
            check_files=not unread,
            expected_credentials=tuple(unread or ()),
            further=partial(check_queues_file, environ=environ),
        )
    except ConfigError as error:
        problems = error.problems
    return Subject(
        loaded=loaded,
        problems=problems,
        places=places,
        unit=unit,
        account=account,
        environ=environ,
        scratch=scratch,
        unread=unread,
    )


def _unit_environment(unit: systemctl.UnitState | None) -> dict[str, str]:
    words = shlex.split(unit.get("Environment")) if unit else []
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _variables(path: Path) -> dict[str, str]:
    """The variables of an environment file, as systemd reads its usual forms; none when it can't be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith(("#", ";")):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[name.strip()] = value[1:-1] if quoted else value
    return found


@contextlib.contextmanager
def _scratch(account: Account) -> Iterator[Path]:
    """A private directory in memory, where there is room for one, that the worker's user may use."""
    memory = "/dev/shm"  # noqa: S108 - mkdtemp makes a private directory inside
    directory = Path(tempfile.mkdtemp(prefix="runqy-doctor-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        hand_over(directory, account)
        yield directory
    finally:
        shutil.rmtree(directory)


def hand_over(path: Path, account: Account) -> None:
    """Make the path, and all below it, the user's own."""
    if os.geteuid() != 0 or account.uid == 0:
        return
    for each in (path, *path.rglob("*")):
        os.chown(each, account.uid, account.gid, follow_symlinks=False)


def _copy_credentials(places: InstancePlaces, directory: Path, account: Account) -> dict[str, str]:
    """Lay the instance's credentials down as systemd would; returns those that can't be, and why."""
    directory.mkdir(mode=0o700)
    try:
        stored = places.stored()
        os.listdir(places.host.store)  # noqa: PTH208 - only whether it may be looked at
    except FileNotFoundError:
        stored = places.stored()
    except PermissionError:
        return {"api-key": "only root may look into the credential store"}
    unread = {}
    for name, path in stored.items():
        try:
            data = _decrypted(name, path) if path.parent == places.host.encrypted_store else path.read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            unread[name] = f"{path}: {error}"
            continue
        target = directory / name
        target.touch(mode=0o400)
        target.chmod(0o600)
        target.write_bytes(data)
    hand_over(directory, account)
    return unread


def _decrypted(name: str, path: Path) -> bytes:
    command = ["systemd-creds", "decrypt", f"--name={name}{ENCRYPTED}", str(path), "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=_DECRYPTING)
    return done.stdout
