"""Reloads, and who may command a running instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from host.codes import serving
from host.probing import ask_health

if TYPE_CHECKING:
    from host.instance import Instance
    from host.machine import Machine
    from host.site import HostSite


def version(number: int) -> dict[str, str]:
    return {"main.py": serving(f"def work(payload):\n    return {number}\n")}


def test_a_reload_deploys_the_newest_commit(site: HostSite, machine: Machine) -> None:
    instance = _started(site)
    before = instance.pid
    commit = site.repository(instance.name, version(2))
    machine.systemctl("reload", instance.unit, timeout=120)
    assert instance.answer() == 2
    assert instance.pid == before
    machine.until(lambda: f"release {commit[:7]}" in instance.show("StatusText"), "the status")


def test_a_reload_that_fails_says_so_and_leaves_the_old_release(site: HostSite, machine: Machine) -> None:
    instance = _started(site)
    site.repository(instance.name, {"main.py": "raise SystemExit('broken commit')\n"})
    done = machine.systemctl("reload", instance.unit, check=False, timeout=120)
    assert done.returncode != 0
    assert instance.show("ActiveState") == "active"
    assert "broken commit" in machine.systemctl("status", instance.unit).stdout
    assert instance.answer() == 1
    site.repository(instance.name, version(3))
    machine.systemctl("reload", instance.unit, timeout=120)
    assert instance.answer() == 3
    assert "broken commit" not in instance.show("StatusText")


def test_sighup_deploys_too(site: HostSite, machine: Machine) -> None:
    instance = _started(site)
    site.repository(instance.name, version(2))
    machine.systemctl("kill", "--signal=HUP", "--kill-whom=main", instance.unit)
    machine.until(lambda: "reload_finished" in instance.actions(), "the reload")
    assert instance.answer() == 2


def test_admins_command_and_others_do_not(site: HostSite, machine: Machine) -> None:
    machine.sh("getent passwd operator1 >/dev/null || useradd --no-create-home --groups runqy-admin operator1")
    instance = _started(site)
    status, quiet, resume = (("runqy-worker", verb, instance.name) for verb in ("status", "quiet", "resume"))
    assert instance.name in machine.run(*status, user="operator1").stdout
    machine.run(*quiet, user="operator1")
    machine.run(*resume, user="operator1")
    machine.run(*status, user="runqy-worker")
    assert machine.run(*quiet, user="runqy-worker", check=False).returncode == 77
    assert machine.run(*status, user="git", check=False).returncode == 77


def test_anybody_on_the_host_may_ask_how_it_is(site: HostSite, machine: Machine) -> None:
    instance = _started(site)
    assert "200" in ask_health(machine, instance, "/readyz").splitlines()[0]


@pytest.mark.parametrize("verb", ["status", "deploy"])
def test_an_instance_that_does_not_run_is_told_apart(machine: Machine, site: HostSite, verb: str) -> None:
    instance = site.instance()
    assert machine.run("runqy-worker", verb, instance.name, check=False).returncode == 69


def _started(site: HostSite) -> Instance:
    instance = site.instance(version(1))
    instance.start()
    assert instance.answer() == 1
    return instance
