"""Instances that run are not removed from under themselves."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from runqy_worker.service import systemctl
from runqy_worker.service.instances import removing
from runqy_worker.service.instances.places import InstanceError, InstancePlaces, Places
from runqy_worker.service.systemctl import SystemctlError, UnitState

if TYPE_CHECKING:
    from pathlib import Path


class Manager:
    """Stands in for systemd, and notes what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.active = "active"
        monkeypatch.setattr(systemctl, "is_booted", lambda: True)
        monkeypatch.setattr(systemctl, "tell", self.tell)
        monkeypatch.setattr(Places, "is_this_host", True)

    def tell(self, *words: str, seconds: float | None = None) -> str:
        if words[0] == "show":
            return f"LoadState=loaded\nActiveState={self.active}\nDescription=a=b\n"
        self.told.append(" ".join(words))
        if words[0] == "stop":
            self.active = "inactive"
        return ""


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Manager:
    return Manager(monkeypatch)


@pytest.fixture
def instance(tmp_path: Path) -> InstancePlaces:
    places = Places(tmp_path).of("inference")
    places.settings.parent.mkdir(parents=True)
    places.settings.touch()
    return places


def test_one_that_runs_is_left_alone(manager: Manager, instance: InstancePlaces) -> None:
    with pytest.raises(InstanceError, match=r"runs; stop it first \(systemctl stop runqy-worker@inference.service\)"):
        removing.remove(instance)
    assert instance.settings.exists()
    assert manager.told == []


def test_stop_lets_it_end_before_its_files_go(manager: Manager, instance: InstancePlaces) -> None:
    removing.remove(instance, stop=True)
    unit = "runqy-worker@inference.service"
    assert manager.told == [f"stop {unit}", f"disable {unit}", "daemon-reload"]
    assert not instance.settings.exists()


def test_without_systemd_the_control_socket_tells(instance: InstancePlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemctl, "is_booted", lambda: False)
    monkeypatch.chdir(instance.host.root)  # a socket's path may not be long
    monkeypatch.setattr(InstancePlaces, "runtime", property(lambda self: self.host.root.relative_to(self.host.root)))
    assert not removing.is_running(instance)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind("control.sock")
        control.listen()
        assert removing.is_running(instance)


def test_a_property_may_hold_any_character(manager: Manager) -> None:
    state = systemctl.state_of("runqy-worker@inference.service")
    assert state is not None
    assert state.get("Description") == "a=b"
    assert (state.is_installed, state.is_running, state.main_pid) == (True, True, 0)
    assert UnitState({"ActiveState": "failed"}).is_running is False


def test_what_systemctl_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "systemctl"
    fake.write_text("#!/bin/sh\necho 'Unit x.service not found.' >&2\nexit 5\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(SystemctlError, match=r"`systemctl start x` failed: Unit x.service not found."):
        systemctl.tell("start", "x")
    fake.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("systemctl") is None
    with pytest.raises(SystemctlError, match="systemctl is missing"):
        systemctl.tell("start", "x")
