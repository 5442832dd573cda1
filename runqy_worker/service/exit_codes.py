"""What the process's exit code says. The numbers are those of sysexits.h where it has one."""

from __future__ import annotations

from enum import IntEnum

from runqy_worker.domain.errors import (
    BackendAuthError,
    BackendError,
    ConfigError,
    ControlError,
    DegradedError,
    DeploymentError,
    ExecutorStartError,
    ListenError,
    RegistrationError,
    RunqyError,
)

UNAUTHORIZED, FORBIDDEN = 401, 403


class ExitCode(IntEnum):
    """Service managers restart after all of these but `USAGE`, `NOPERM` and `CONFIG`, which time can't heal."""

    OK = 0
    """Done, or stopped as asked."""
    FAILURE = 1
    """The command did what it is for, and the answer is no."""
    USAGE = 64
    """Wrong arguments."""
    UNAVAILABLE = 69
    """The control server, the backend or the worker can't be reached."""
    SOFTWARE = 70
    """A fault of this program."""
    TEMPFAIL = 75
    """It may work later: a deploy failed, the task code did not become ready, or an address is taken."""
    NOPERM = 77
    """The server or the backend refuses our key, the system a file, or the worker a command."""
    CONFIG = 78
    """The configuration can't be used."""
    DEGRADED = 80
    """The task code's process could not be kept alive, and `recovery.on_degraded` is `exit`."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""
    PIPE = 141
    """Whoever read the output went away."""


def for_error(error: BaseException) -> ExitCode:
    """The exit code that tells of `error`."""
    if isinstance(error, DeploymentError):
        return _for_deployment(error)
    if isinstance(error, ControlError):
        return _BY_REASON.get(error.reason, ExitCode.FAILURE)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return ExitCode.SOFTWARE


def _for_deployment(error: DeploymentError) -> ExitCode:
    if isinstance(error, RegistrationError) and error.status in (UNAUTHORIZED, FORBIDDEN):
        return ExitCode.NOPERM
    if not error.retryable:
        return ExitCode.CONFIG
    return ExitCode.UNAVAILABLE if error.step == "register" else ExitCode.TEMPFAIL


_BY_REASON = {
    "not_running": ExitCode.UNAVAILABLE,
    "no_answer": ExitCode.UNAVAILABLE,
    "version": ExitCode.UNAVAILABLE,
    "verb": ExitCode.UNAVAILABLE,
    "forbidden": ExitCode.NOPERM,
    "failed": ExitCode.TEMPFAIL,
    "stopping": ExitCode.TEMPFAIL,
    "busy": ExitCode.TEMPFAIL,
    "request": ExitCode.SOFTWARE,
    "fault": ExitCode.SOFTWARE,
}
"""What a running worker, or the way to it, answers."""
_CODES: tuple[tuple[type[BaseException], ExitCode], ...] = (
    (ConfigError, ExitCode.CONFIG),
    (BackendAuthError, ExitCode.NOPERM),
    (BackendError, ExitCode.UNAVAILABLE),
    (ExecutorStartError, ExitCode.TEMPFAIL),
    (ListenError, ExitCode.TEMPFAIL),
    (DegradedError, ExitCode.DEGRADED),
    (RunqyError, ExitCode.FAILURE),
    (KeyboardInterrupt, ExitCode.INTERRUPTED),
    (BrokenPipeError, ExitCode.PIPE),
)
"""The first that fits; narrow classes before their bases."""
