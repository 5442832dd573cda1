"""Which error ends the process with which code."""

from __future__ import annotations

import pytest

from runqy_worker.domain.errors import (
    BackendAuthError,
    BackendError,
    BackendUnavailableError,
    ConfigError,
    ControlError,
    DegradedError,
    DeploymentError,
    ExecutorStartError,
    RegistrationError,
    RunqyError,
)
from runqy_worker.service.exit_codes import ExitCode, for_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError(("worker.queue: missing",)), 78),
        (BackendUnavailableError("refused"), 69),
        (BackendAuthError("WRONGPASS"), 77),
        (BackendError("WRONGTYPE"), 69),
        (RegistrationError("no answer"), 69),
        (RegistrationError("key refused", status=401), 77),
        (RegistrationError("wrong role", status=403, retryable=False), 77),
        (RegistrationError("unknown queue", status=404, retryable=False), 78),
        (DeploymentError("disk full", step="clone"), 75),
        (DeploymentError("no such branch", step="clone", retryable=False), 78),
        (ExecutorStartError("not ready"), 75),
        (DegradedError("no more restarts"), 80),
        (ControlError("nobody listens", reason="not_running"), 69),
        (ControlError("you may only look", reason="forbidden"), 77),
        (ControlError("no such branch", reason="failed"), 75),
        (ControlError("a reason of a later version", reason="tired"), 1),
        (RunqyError("anything else"), 1),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
        (ValueError("a bug"), 70),
    ],
)
def test_each_error_has_its_code(error: BaseException, code: int) -> None:
    assert for_error(error) == code


def test_codes_are_distinct_and_fit_a_process() -> None:
    assert len({int(code) for code in ExitCode}) == len(ExitCode)
    assert all(0 <= code < 256 for code in ExitCode)
