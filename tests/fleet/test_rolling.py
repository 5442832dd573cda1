"""Rolling playbooks over several hosts: one after the other, stopped by the first failure, which goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fleet import artifacts
from fleet.playing import Operator, do_tasks

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.conftest import Workers
    from host.machine import Machine

BROKEN, NEWER = "9.0.0", "9.1.0"
UNIT = "runqy-worker@inference.service"
CANARY, *OTHERS = HOSTS = ("worker-1", "worker-2", "worker-3")


@pytest.fixture(scope="module")
def fleet(workers: Workers) -> dict[str, Machine]:
    return workers(len(HOSTS))


@pytest.fixture(scope="module")
def operator(fleet: dict[str, Machine], settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(tmp_path_factory.mktemp("rolling"), fleet, settings)


@pytest.fixture(scope="module")
def broken_wheel() -> Path:
    """A version that installs, and says what it is, but does not run."""
    return artifacts.wheel(BROKEN, {"runqy_worker/cli/serving.py": 'raise RuntimeError("this version is broken")\n'})


@pytest.fixture(scope="module")
def newer_wheel() -> str:
    return str(artifacts.wheel(NEWER))


def pids(fleet: dict[str, Machine]) -> dict[str, str]:
    return {name: machine.show(UNIT, "MainPID")["MainPID"] for name, machine in fleet.items()}


def in_use(fleet: dict[str, Machine]) -> dict[str, str]:
    """Which version the hosts use."""
    return {
        name: machine.run("readlink", "/opt/runqy-worker/current").stdout.partition("-")[0]
        for name, machine in fleet.items()
    }


def test_an_upgrade_to_a_version_that_does_not_start_ends_at_the_first_host_and_goes_back(
    fleet: dict[str, Machine], operator: Operator, broken_wheel: Path
) -> None:
    before, versions = pids(fleet), in_use(fleet)
    played = operator.play("upgrade", fails=True, wheel=str(broken_wheel))
    assert [name for name in HOSTS if played.changed(name)] == [CANARY]
    assert f"{CANARY} is back at {versions[CANARY]}-" in played.said
    assert "this version is broken" in played.said
    assert in_use(fleet) == versions
    assert {name: pids(fleet)[name] for name in OTHERS} == {name: before[name] for name in OTHERS}
    do_tasks(fleet[CANARY])
    assert operator.play("site").changed(CANARY) == []


def test_an_upgrade_goes_through_the_hosts_one_after_the_other(
    fleet: dict[str, Machine], operator: Operator, newer_wheel: str
) -> None:
    before = pids(fleet)
    played = operator.play("upgrade", wheel=newer_wheel)
    assert played.said.count("PLAY [Upgrade the workers") == len(HOSTS)
    assert in_use(fleet) == dict.fromkeys(HOSTS, NEWER)
    for name, machine in fleet.items():
        assert pids(fleet)[name] != before[name]
        do_tasks(machine)


def test_an_older_version_is_left_out_by_site_and_refused_by_upgrade_unless_that_is_allowed(
    fleet: dict[str, Machine], operator: Operator
) -> None:
    played = operator.play("site")
    assert "playbooks/upgrade.yml switches" in played.said
    assert [played.changed(name) for name in HOSTS] == [[]] * len(HOSTS)
    assert "runqy_worker_allow_downgrade" in operator.play("upgrade", fails=True).said
    assert in_use(fleet) == dict.fromkeys(HOSTS, NEWER)


def test_a_host_that_is_away_stops_an_upgrade_before_anything_is_touched(
    fleet: dict[str, Machine], operator: Operator, broken_wheel: Path
) -> None:
    before = pids(fleet)
    away = {"away": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}}
    played = operator.play("upgrade", fails=True, others=away, wheel=str(broken_wheel))
    assert [played.changed(name) for name in HOSTS] == [[]] * len(HOSTS)
    assert pids(fleet) == before


def test_a_deploy_of_code_that_does_not_start_ends_at_the_first_host_where_the_old_goes_on(
    fleet: dict[str, Machine], operator: Operator, newer_wheel: str
) -> None:
    before = pids(fleet)
    commit = "git -c user.name=Test -c user.email=test@localhost -C /srv/git/code commit --quiet --all -m bad"
    for machine in fleet.values():
        machine.write("/srv/site/code/main.py", "raise SystemExit(7)\n", owner="site:site")
        machine.sh(commit, user="site")
    played = operator.play("deploy", fails=True, wheel=newer_wheel)
    assert set(played.run.hosts) == {CANARY}
    assert UNIT in played.said
    assert pids(fleet) == before
    do_tasks(fleet[CANARY])
