"""A subject that is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runqy_worker.config.loading import load_with_origins
from runqy_worker.doctor.account import own_account
from runqy_worker.doctor.subject import Subject
from runqy_worker.service.instances.places import Places
from runqy_worker.service.systemctl import UnitState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENOUGH = {"RUNQY_SERVER_URL": "http://localhost:8081", "RUNQY_API_KEY": "k", "RUNQY_QUEUES": "inference"}


@pytest.fixture
def subject(tmp_path: Path) -> Callable[..., Subject]:
    """Makes one: `unit` has what systemd would say, `variables` what its environment and configuration hold."""

    def make(*, unit: dict[str, str] | None = None, **variables: str) -> Subject:
        environ = {"PATH": "/usr/bin:/bin", **ENOUGH, "RUNQY_DEPLOYMENT_DIR": str(tmp_path / "deployment"), **variables}
        more: dict[str, Any] = {}
        if unit is not None:
            more = {"unit": UnitState(unit), "places": Places(tmp_path).of("inference")}
        return Subject(
            loaded=load_with_origins("/dev/null", environ=environ),
            account=own_account(),
            environ=environ,
            scratch=tmp_path,
            **more,
        )

    return make
