"""What Redis refuses, in the vocabulary of the backend port."""

from __future__ import annotations

import re
from itertools import chain

from redis import exceptions as redis_errors

from runqy_worker.domain.errors import BackendAuthError, BackendError, BackendUnavailableError

_CODES: tuple[tuple[type[Exception], str], ...] = (
    (redis_errors.AuthenticationError, "WRONGPASS"),
    (redis_errors.NoPermissionError, "NOPERM"),
    (redis_errors.NoScriptError, "NOSCRIPT"),
    (redis_errors.ReadOnlyError, "READONLY"),
    (redis_errors.BusyLoadingError, "LOADING"),
    (redis_errors.OutOfMemoryError, "OOM"),
    (redis_errors.MasterDownError, "MASTERDOWN"),
    (redis_errors.ClusterDownError, "CLUSTERDOWN"),
    (redis_errors.TryAgainError, "TRYAGAIN"),
)
_AUTH = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})
_MOVED_ON = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED", "MOVED", "ASK"})
_BUSY = frozenset({"OOM", "BUSY", "TRYAGAIN", "NOREPLICAS", "MISCONF", "NOSCRIPT"})
_TEXTS = (
    ("Authentication required", "NOAUTH"),
    ("invalid password", "WRONGPASS"),
    ("invalid username-password pair", "WRONGPASS"),
    ("without any password configured", "WRONGPASS"),
)
_ANSWERS = (redis_errors.ResponseError, redis_errors.AuthenticationError, redis_errors.BusyLoadingError)
_IN_SCRIPT = re.compile(r"(?:^|[\s:'])-([A-Z]{3,}) ")
"""How Redis 6 wraps what a command inside a script answered."""


def code_of(error: Exception) -> str:
    """The error's code word: `OOM`, `NOSCRIPT`, ...; `ERR` when Redis gave none that matters here."""
    said = getattr(error, "status_code", None)
    if isinstance(said, str) and said not in {"", "ERR"}:
        return said
    text = str(error)
    first = text.split(" ", 1)[0]
    if first in _AUTH or first in _MOVED_ON or first in _BUSY:
        return first
    by_text = (code for part, code in _TEXTS if part in text)
    by_class = (code for kind, code in _CODES if isinstance(error, kind))
    nested = (found.group(1) for found in _IN_SCRIPT.finditer(text))
    return next(chain(by_text, by_class, nested), "ERR")


def needs_reconnect(code: str) -> bool:
    """Whether another server, or other credentials, may be in place by now: look for them at the next call."""
    return code in _AUTH or code in _MOVED_ON


def translate(error: Exception, where: str) -> BackendError:
    """The backend's error for one that redis-py or the network raised; `where` names the server."""
    if isinstance(error, _ANSWERS):
        code = code_of(error)
        said = str(error)
        text = f"redis at {where} answered: {said if code == 'ERR' or said.startswith(code) else f'{code} {said}'}"
        if code in _AUTH:
            return BackendAuthError(text)
        if code in _MOVED_ON or code in _BUSY:
            return BackendUnavailableError(text)
        return BackendError(text)
    if isinstance(error, TimeoutError | redis_errors.TimeoutError):
        return BackendUnavailableError(f"redis at {where} did not answer in time")
    return BackendUnavailableError(f"redis at {where} is not reachable: {str(error) or type(error).__name__}")
