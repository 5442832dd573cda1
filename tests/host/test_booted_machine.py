"""The machines themselves: booted, of the right release, and with the worker in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from host.rootfs import SYSTEMD

if TYPE_CHECKING:
    from host.machine import Machine
    from host.site import HostSite


def test_the_machine_is_booted_with_the_systemd_of_its_suite(machine: Machine, suite: str) -> None:
    assert machine.systemctl("is-system-running", check=False).stdout.strip() == "running"
    assert machine.run("systemctl", "--version").stdout.split()[1] == str(SYSTEMD[suite])


def test_an_instance_starts_runs_a_task_and_stops(site: HostSite) -> None:
    instance = site.instance()
    instance.start()
    assert instance.answer({"a": 1}) == {"a": 1}
    instance.stop()
    assert instance.show("ActiveState") == "inactive"
