"""Short-lived files for secrets that git and the installers read themselves.

They lie in a private directory in memory where the host has one, are readable by this user only, and go away
with the deploy. What a killed daemon left is removed by the next one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runqy_worker.deployment.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "runqy-secrets-"
_LOCK = "owner.lock"


class SecretFiles:
    """A private directory for the length of a `with` block.

    Args:
        environ: Where RUNTIME_DIRECTORY and XDG_RUNTIME_DIR are looked up.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._directory: Path | None = None
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        base = self._base()
        _sweep(base)
        self._directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = FileLock(self._directory / _LOCK)
        self._lock.try_take()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        if self._lock is not None:
            self._lock.drop()

    def write(self, name: str, text: str) -> Path:
        """Write one file, replacing an earlier one of that name. Returns its path."""
        assert self._directory is not None, "used outside its `with` block"  # noqa: S101 - a programming error
        path = self._directory / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        return path

    def _base(self) -> str:
        runtime = self._environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        for candidate in (runtime, self._environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm"):  # noqa: S108 - mkdtemp makes a private directory inside
            if candidate and os.access(candidate, os.W_OK | os.X_OK):
                return candidate
        return tempfile.gettempdir()


def _sweep(base: str) -> None:
    for left in Path(base).glob(f"{_PREFIX}*"):
        if not (left / _LOCK).exists() or left.stat().st_uid != os.getuid():
            continue
        lock = FileLock(left / _LOCK)
        if lock.try_take():
            shutil.rmtree(left, ignore_errors=True)
        lock.drop()
