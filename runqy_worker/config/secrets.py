"""Secrets from systemd credentials and from the files that `*_file` settings name."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.config.catalog import SECRETS, SETTINGS
from runqy_worker.config.masking import quoted
from runqy_worker.config.suggestions import nearest
from runqy_worker.config.values import Assignment
from runqy_worker.domain.errors import RunqyError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from runqy_worker.config.report import Report

_LARGEST = 1024 * 1024
"""What systemd allows for a unit's credentials; a longer file is no secret but a mistake."""
_ENCRYPTED = ".encrypted"
"""A unit can't load one credential from two places, so that from the encrypted store has this behind its name."""


class SecretFileError(RunqyError):
    """A file can't give a secret; the text says why, without showing anything of it."""


def read_credentials(
    environ: Mapping[str, str], expected: Collection[str], report: Report, *, check_files: bool
) -> dict[str, Assignment]:
    """The settings that `$CREDENTIALS_DIRECTORY` gives.

    Args:
        environ: Where the variable is looked up.
        expected: Names of credentials that the unit will provide, though they are not here now.
        report: Gets what is wrong.
        check_files: Whether to read them; otherwise it is only noted that they exist.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    present = _names(directory, report) if directory else frozenset()
    layer: dict[str, Assignment] = {}
    names = {entry.setting.credential: entry for entry in SETTINGS.values() if entry.setting.credential}
    for plain, entry in names.items():
        name = plain + _ENCRYPTED if plain + _ENCRYPTED in present else plain
        origin = f"credential {name}"
        path = Path(directory, name)
        if name not in present:
            if name in expected:
                layer[entry.key] = Assignment("", origin, unread=True)
        elif not entry.setting.secret:
            layer[entry.key] = Assignment(str(path), origin)
        elif not check_files:
            layer[entry.key] = Assignment("", origin, unread=True)
        else:
            try:
                layer[entry.key] = Assignment(read_secret(path), origin)
            except SecretFileError as error:
                report.wrong(origin, entry.key, f"a credential which {error}", "a text in one line")
    for name in sorted({name.removesuffix(_ENCRYPTED) for name in present} - names.keys()):
        if meant := nearest(name.replace("-", "_"), [known.replace("-", "_") for known in names], 0.8):
            report.warn(f"credential {name}", f"is not used; did you mean {meant.replace('_', '-')}?")
    return layer


def read_files(
    merged: Mapping[str, Assignment], report: Report, *, check_files: bool
) -> tuple[dict[str, Assignment], tuple[Path, ...]]:
    """The secrets that the `*_file` settings in effect name, and the paths of those files.

    Args:
        merged: The settings in effect.
        report: Gets what is wrong.
        check_files: Whether to read them; otherwise it is only noted that they are named.
    """
    layer: dict[str, Assignment] = {}
    paths: list[Path] = []
    for entry in SECRETS:
        named = merged.get(entry.file_key)
        if named is None or not named.value:
            continue
        if (plain := merged.get(entry.key)) and plain.value:
            report.warn(plain.origin, f"{entry.key} is not used, since {named.origin} names a file with it")
        path = Path(named.value)
        paths.append(path)
        origin = f"{path} ({named.origin})"
        if not check_files:
            layer[entry.key] = Assignment("", origin, unread=True)
            continue
        try:
            layer[entry.key] = Assignment(read_secret(path), origin)
            mode = stat.S_IMODE(path.stat().st_mode)
        except SecretFileError as error:
            report.wrong(named.origin, entry.file_key, f"{quoted(str(path))}, which {error}", "a file that holds it")
            report.bad.add(entry.key)
            continue
        if mode & stat.S_IROTH:
            report.warn(
                named.origin,
                f"{entry.file_key}: every user of this host may read {path} (mode {mode:04o}); make it 0600",
            )
    return layer, tuple(paths)


def read_secret(path: Path) -> str:
    """The file's text without the line break at its end.

    Raises:
        SecretFileError: It can't be read, is empty, too large or not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise SecretFileError(f"can't be read ({error.strerror})") from error
    if len(data) > _LARGEST:
        raise SecretFileError("is larger than 1 MiB")
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretFileError("is not UTF-8 text") from None  # the cause holds the secret
    if not text.strip():
        raise SecretFileError("is empty")
    return text


def _names(directory: str, report: Report) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))  # noqa: PTH208 - names are wanted, not paths
    except OSError as error:
        report.broken("CREDENTIALS_DIRECTORY", f"{quoted(directory)} can't be read ({error.strerror})")
        return frozenset()
