"""Errors: one base, narrow subclasses, payload as attributes. The door maps each class to an exit code."""

from __future__ import annotations


class RunqyError(Exception):
    """Something this program knows how to name. The message is written for the operator."""


class BackendError(RunqyError):
    """The backend refused or failed an operation."""


class BackendUnavailableError(BackendError):
    """The backend cannot be reached, or does not take writes now: wait and try again; nothing is lost."""


class BackendAuthError(BackendUnavailableError):
    """The backend refuses our credentials (NOAUTH, WRONGPASS, NOPERM): register again for new ones."""


class ExecutorStartError(RunqyError):
    """The task code's process did not become ready.

    Attributes:
        output: Its last lines on stdout and stderr, oldest first.
    """

    def __init__(self, message: str, *, output: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.output = output


class ListenError(RunqyError):
    """Nothing can be listened to at an address or path that the configuration names; that may change."""


class DegradedError(RunqyError):
    """A process of the task code could not be kept alive, and the configuration asks to end then."""


class DeploymentError(RunqyError):
    """The task code could not be deployed.

    Attributes:
        step: `register`, `clone`, `environment`, `install`, ...
        retryable: Whether time alone may heal it (network, full disk), as against a wrong setting.
    """

    def __init__(self, message: str, *, step: str, retryable: bool = True) -> None:
        super().__init__(message)
        self.step = step
        self.retryable = retryable


class RegistrationError(DeploymentError):
    """The control server did not register this worker, or its answer can't be used."""

    def __init__(self, message: str, *, retryable: bool = True, status: int | None = None) -> None:
        super().__init__(message, step="register", retryable=retryable)
        self.status = status


class ControlError(RunqyError):
    """A running worker could not be asked, or does not do what it was asked for.

    Attributes:
        reason: Stable name, for programs: `not_running`, `no_answer`, `forbidden`, `version`, `verb`, `request`,
            `busy`, `failed`, `stopping` or `fault`.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigError(RunqyError):
    """The configuration can't be used. Carries every problem found, not only the first.

    Attributes:
        problems: One line each: where (file:line, variable or flag), key, what was found, what was expected.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
