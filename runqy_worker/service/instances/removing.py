"""Removing an instance."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.service import systemctl
from runqy_worker.service.instances.places import InstanceError, unit_of

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.service.instances.places import InstancePlaces, Places


@dataclass(frozen=True, slots=True)
class Removed:
    """What was done.

    Attributes:
        paths: What was removed.
        kept: Directories with what the instance wrote, which are still there.
    """

    paths: tuple[Path, ...]
    kept: tuple[Path, ...]


def remove(places: InstancePlaces, *, purge_data: bool = False, stop: bool = False) -> Removed:
    """Remove the instance's files, and what it wrote too if asked.

    Args:
        places: Its name and where its files are.
        purge_data: Remove its deployed releases, caches and logs.
        stop: Stop it first if it runs; running tasks may end.

    Raises:
        InstanceError: There is none, or it runs; nothing was changed.
        SystemctlError: systemd refused to stop or disable it.
        OSError: A file can't be removed; doing it again goes on there.
    """
    data = tuple(path for path in places.data if path.exists())
    files = places.files()
    if not files and not (data and purge_data):
        raise unknown(places.host, places.name)
    if places.host.is_this_host:
        _stop(places, stop=stop)
    removed = []
    for path in files:  # the settings first: without them it can't be started
        path.unlink(missing_ok=True)
        removed.append(path)
    if places.drop_ins.is_dir():
        places.drop_ins.rmdir()
    if places.host.is_this_host and systemctl.is_booted():
        systemctl.tell("daemon-reload")
    if purge_data:
        for path in data:
            shutil.rmtree(path)
            removed.append(path)
    return Removed(tuple(removed), () if purge_data else data)


def unknown(host: Places, name: str) -> InstanceError:
    """There is no such instance: says which there are."""
    known = ", ".join(host.names()) or "none"
    return InstanceError(f"there is no instance {name!r} in {host.instances}; there are: {known}")


def is_running(places: InstancePlaces) -> bool:
    """Whether it runs: by systemd's word, or because somebody answers on its control socket."""
    state = systemctl.state_of(unit_of(places.name))
    if state is not None and state.is_running:
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(places.runtime / "control.sock"))
        except OSError:
            return False
    return True


def _stop(places: InstancePlaces, *, stop: bool) -> None:
    unit = unit_of(places.name)
    if is_running(places):
        if not stop:
            message = f"the instance {places.name!r} runs; stop it first (systemctl stop {unit}), or give --stop"
            raise InstanceError(message)
        systemctl.tell("stop", unit)
    state = systemctl.state_of(unit)
    if state is not None and state.is_installed:
        systemctl.tell("disable", unit)
        if state.get("ActiveState") == "failed":
            systemctl.tell("reset-failed", unit)
