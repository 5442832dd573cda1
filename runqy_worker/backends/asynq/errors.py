"""What Redis refuses, in the vocabulary of the backend port."""

from __future__ import annotations

import re

from runqy_worker.domain.errors import BackendAuthError, BackendError, BackendUnavailableError

_AUTH = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})
_MOVED_ON = frozenset({"READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "UNBLOCKED", "MOVED", "ASK"})
_BUSY = frozenset({"OOM", "BUSY", "TRYAGAIN", "MISCONF", "NOSCRIPT"})
FAREWELL = "PROTOCOL"
"""The code of what Redis says before it hangs up, since something was too large for it."""
_TEXTS = (
    ("Authentication required", "NOAUTH"),
    ("invalid password", "WRONGPASS"),
    ("invalid username-password pair", "WRONGPASS"),
    ("no password is set", "WRONGPASS"),
    ("without any password configured", "WRONGPASS"),
    ("max number of clients reached", "BUSY"),
    ("Protocol error", FAREWELL),
)
_IN_SCRIPT = re.compile(r"(?:^|[\s:'])-([A-Z]{3,}) ")
"""How Redis 6 wraps what a command inside a script answered."""


class Refusal(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An error that Redis answered with; the text is Redis' own."""


class OutOfMemoryError(BackendUnavailableError):
    """Redis has no memory for this command, and did nothing of it. Others may still be served."""


def code_of(refusal: Refusal) -> str:
    """The refusal's code word: `OOM`, `NOSCRIPT`, ...; `ERR` when Redis gave none that matters here."""
    text = str(refusal)
    first = text.split(" ", 1)[0]
    if first in _AUTH or first in _MOVED_ON or first in _BUSY:
        return first
    for part, code in _TEXTS:
        if part in text:
            return code
    nested = _IN_SCRIPT.search(text)
    return nested.group(1) if nested else "ERR"


def needs_reconnect(code: str) -> bool:
    """Whether another server, or other credentials, may be in place by now: look for them at the next call."""
    return code in _AUTH or code in _MOVED_ON


def translate(error: Exception, where: str) -> BackendError:
    """The backend's error for a `Refusal`, or for what the network raised; `where` names the server."""
    if isinstance(error, Refusal):
        code = code_of(error)
        said = str(error)
        plain = code in {"ERR", FAREWELL} or said.startswith(code)
        text = f"redis at {where} answered: {said if plain else f'{code} {said}'}"
        if code in _AUTH:
            return BackendAuthError(text)
        if code == "OOM":
            return OutOfMemoryError(text)
        if code in _MOVED_ON or code in _BUSY or code == FAREWELL:
            return BackendUnavailableError(text)
        return BackendError(text)
    if isinstance(error, TimeoutError) and error.errno is None:
        return BackendUnavailableError(f"redis at {where} did not answer in time")
    return BackendUnavailableError(f"redis at {where} is not reachable: {str(error) or type(error).__name__}")
