"""The worker from a package repository: installed, upgraded, and left as it was by an upgrade that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fleet import artifacts
from fleet.playing import Operator, do_tasks
from fleet.repository import Repository
from fleet.roots import prepared
from host.machine import Machine

from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = "trixie"
FIRST, NEWER = f"{__version__}+deb13", f"{__version__}+deb13.1"
UNIT = "runqy-worker@inference.service"
WHERE = "/srv/repository"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("repository"))
    made.publish(artifacts.package(SUITE))
    return made


@pytest.fixture(scope="module")
def machine(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine(prepared(SUITE), tmp_path_factory.mktemp("host") / "console") as machine:
        machine.copy_in(artifacts.source(), "/root")
        machine.copy_in(repository.path, WHERE)
        machine.sh("tar -xC /srv/site -f /root/source.tar; rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
        machine.systemctl("enable", "--now", "site-redis", "site-control")
        yield machine


@pytest.fixture(scope="module")
def operator(
    repository: Repository, machine: Machine, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Operator:
    source = {
        "install_method": "deb",
        "wheel": "",
        "apt_source": {"uris": f"file:{WHERE}", "suites": "./"},
        "apt_key": repository.key,
        "instances": [{"name": "inference"}],
    }
    return Operator(tmp_path_factory.mktemp("operator"), {"worker-1": machine}, settings | source)


def version_of(machine: Machine) -> str:
    return machine.run("dpkg-query", "--show", "--showformat=${Version}", "runqy-worker").stdout


def test_the_package_comes_from_the_repository_once(machine: Machine, operator: Operator) -> None:
    operator.play("site")
    assert version_of(machine) == FIRST
    do_tasks(machine)
    assert operator.play("site").changed("worker-1") == []


def test_an_upgrade_to_a_version_that_the_repository_does_not_have_leaves_the_worker_as_it_was(
    machine: Machine, operator: Operator
) -> None:
    before = machine.show(UNIT, "MainPID")
    played = operator.play("upgrade", fails=True, version="9.0.0")
    assert f"worker-1 is back at {FIRST}." in played.said
    assert version_of(machine) == FIRST
    assert machine.show(UNIT, "MainPID") == before
    do_tasks(machine)


def test_an_upgrade_takes_the_newer_one_from_the_repository(
    repository: Repository, machine: Machine, operator: Operator
) -> None:
    before = machine.show(UNIT, "MainPID")
    repository.publish(artifacts.package(SUITE), artifacts.package(SUITE, "1"))
    machine.copy_in(repository.path, WHERE)
    assert operator.play("site", version=NEWER).changed("worker-1") == []
    operator.play("upgrade", version=NEWER)
    assert version_of(machine) == NEWER
    assert machine.show(UNIT, "MainPID") != before
    do_tasks(machine)
    assert operator.play("site", version=NEWER).changed("worker-1") == []
