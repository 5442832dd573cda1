"""The checks of all scenarios: `host` is each machine in turn, as testinfra shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fleet.hosts import machines, reach

if TYPE_CHECKING:
    from testinfra.host import Host


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `machine` runs on each."""
    if "machine" in metafunc.fixturenames:
        metafunc.parametrize("machine", list(machines()), scope="session")


@pytest.fixture(scope="session")
def host(machine: str) -> Host:
    """The machine."""
    return reach(machine)
