"""The unit files as systemd reads them: exposure, faults, the target and the slice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from host.rootfs import ROOT

if TYPE_CHECKING:
    from host.machine import Machine
    from host.site import HostSite

CUDA = (ROOT / "systemd" / "drop-ins" / "cuda.conf").read_text()
LIMITS = (ROOT / "systemd" / "drop-ins" / "limits.conf").read_text()


@pytest.mark.parametrize(
    ("drop_ins", "most"),
    [({}, 1.2), ({"cuda.conf": CUDA}, 1.5), ({"limits.conf": LIMITS}, 1.2)],
    ids=["cpu", "cuda", "limits"],
)
def test_the_exposure_stays_low(
    site: HostSite, drop_ins: dict[str, str], most: float, record_property: pytest.Function
) -> None:
    instance = site.instance(drop_ins=drop_ins)
    threshold = f"--threshold={round(most * 10)}"
    done = site.machine.run("systemd-analyze", "security", "--offline=true", threshold, instance.unit, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= most, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("drop_ins", [{}, {"cuda.conf": CUDA}, {"limits.conf": LIMITS}], ids=["cpu", "cuda", "limits"])
def test_systemd_finds_nothing_to_complain_of(site: HostSite, drop_ins: dict[str, str]) -> None:
    instance = site.instance(drop_ins=drop_ins)
    units = (instance.unit, "runqy-worker.target", "runqy.slice", "runqy-gpu-devices.service")
    done = site.machine.run("systemd-analyze", "verify", *units, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_target_starts_and_stops_all_enabled_instances(site: HostSite, machine: Machine) -> None:
    enabled = [site.instance(), site.instance()]
    other = site.instance()
    for instance in enabled:
        machine.systemctl("enable", instance.unit)
    machine.systemctl("start", "runqy-worker.target", timeout=120)
    for instance in enabled:
        assert instance.show("ActiveState") == "active"
        assert instance.answer(instance.name) == instance.name
    assert other.show("ActiveState") == "inactive"
    machine.systemctl("stop", "runqy-worker.target", timeout=120)
    for instance in enabled:
        instance.until(lambda one: one.show("ActiveState") == "inactive", "the stop")


def test_instances_are_in_the_slice(site: HostSite) -> None:
    instance = site.instance()
    instance.start()
    assert instance.show("ControlGroup") == f"/runqy.slice/{instance.unit}"
