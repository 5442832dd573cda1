"""Who may read the secrets, and whether the worker's user may use its files and directories."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from runqy_worker.doctor.account import EXECUTE, READ, WRITE
from runqy_worker.doctor.finding import Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runqy_worker.doctor.subject import Subject

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


async def look(subject: Subject) -> list[Finding]:
    """Secrets first, then what the worker must be able to read and to write."""
    found = [*_stored_secrets(subject), *_secret_files(subject), *_settings(subject), *_directories(subject)]
    return found or [ok(f"the user {subject.account.name} may use its files, and others may not read its secrets")]


def _stored_secrets(subject: Subject) -> Iterator[Finding]:
    """Systemd's own manager reads them, so nobody else needs to."""
    stored = subject.places.stored() if subject.places else {}
    for path in stored.values():
        try:
            status = path.stat()
        except OSError:  # not ours to look at: then nobody else's either
            continue
        foreign = status.st_uid != 0 and subject.places is not None and subject.places.host.is_this_host
        if status.st_mode & _OTHERS or foreign:
            mode = stat.S_IMODE(status.st_mode)
            text = f"the secret {path} can be read by others than root (mode {mode:04o}, owner {status.st_uid})"
            yield problem(text, f"chown root:root {path}; chmod 0600 {path}")


def _secret_files(subject: Subject) -> Iterator[Finding]:
    """Those that settings name; that everybody may read one is a warning of the configuration."""
    paths = subject.loaded.secret_files if subject.loaded else ()
    for path in paths:
        if path.exists() and not subject.account.may(path, READ):
            text = f"the user {subject.account.name} may not read the secret {path}"
            yield problem(text, f"chown {subject.account.name} {path}; chmod 0400 {path}, or make it a credential")


def _settings(subject: Subject) -> Iterator[Finding]:
    files = subject.loaded.files if subject.loaded else ()
    for path in files:
        if not subject.account.may(path, READ):
            text = f"the user {subject.account.name} may not read {path}"
            yield problem(text, f"chmod 0644 {path}, and 0755 the directories above it")


def _directories(subject: Subject) -> Iterator[Finding]:
    config, account = subject.config, subject.account
    for key, text in (("deployment.dir", config.deployment.dir), ("worker.state_dir", config.worker.state_dir)):
        if not text:
            continue
        path = subject.path(text)
        if path.is_dir():
            if not account.may(path, WRITE | EXECUTE):
                advice = f"chown -R {account.name} {path}"
                yield problem(f"the user {account.name} may not write to {path} ({key})", advice)
        elif os.path.lexists(path):
            yield problem(f"{path} ({key}) is no directory", "remove it, or set another path")
        elif not _made_by_unit(subject, path):
            above = next(parent for parent in path.parents if parent.exists())
            if not account.may(above, WRITE | EXECUTE):
                advice = f"install -d -o {account.name} -m 0750 {path}"
                yield problem(f"{path} ({key}) is missing and the user {account.name} can't make it", advice)
    if account.uid == 0:
        yield warning("the worker, and so the task code, runs as root", "use the unit, or give it a user of its own")


def _made_by_unit(subject: Subject, path: Path) -> bool:
    """Whether systemd makes the directory for the unit when it starts."""
    if subject.places is None or subject.unit is None:
        return False
    return any(path.is_relative_to(each) for each in subject.places.data)
