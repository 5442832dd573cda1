"""One booted machine per suite, with the worker installed, that all tests share; each test cleans up after itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from host.machine import Machine
from host.needs import missing
from host.packages import PackageHost
from host.rootfs import SUITES, rootfs
from host.site import HostSite
from support.tools import missing as tool_missing
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 600
"""Seconds that one test may take; the first also boots the machine, and may have to make its root file system."""


class BySuite(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """Tests of one suite run one after another, in one process, so that they share the machine."""

    def _split_scope(self, nodeid: str) -> str:
        return next((suite for suite in SUITES if suite in nodeid), "none")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySuite | None:
    """What `--dist loadgroup` means here."""
    return BySuite(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give them the time that they need."""
    for item in items:
        if "/host/" in str(item.path):
            item.add_marker(pytest.mark.timeout(LONGEST), append=False)


@pytest.fixture(scope="session", autouse=True)
def _host_can_boot_machines() -> None:
    if reasons := missing():
        tool_missing("; ".join(reasons))


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """The Debian release; every test that asks for a machine runs on each."""
    return str(request.param)


@pytest.fixture(scope="session")
def machine(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Booted, without the worker."""
    log = tmp_path_factory.mktemp(f"machine-{suite}") / "console.log"
    with Machine(rootfs(suite), log) as machine:
        yield machine


@pytest.fixture(scope="session")
def installed(machine: Machine, suite: str) -> Machine:
    """The machine with the package in it, and the uv of the tests' environment."""
    PackageHost(machine, suite).install()
    machine.copy_in(Path(sys.executable).with_name("uv"), "/usr/local/bin")
    return machine


@pytest.fixture(scope="session")
def shared_site(installed: Machine) -> HostSite:
    """Redis and the rest, for all tests on a machine."""
    return HostSite(installed)


@pytest.fixture
def site(shared_site: HostSite) -> Iterator[HostSite]:
    """The same, with nothing of this test left in it afterwards."""
    yield shared_site
    shared_site.clean()
