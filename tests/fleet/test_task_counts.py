"""What a run that changes nothing costs each host, however many there are."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from fleet import artifacts
from fleet.playing import play
from fleet.roots import prepared
from host.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleet.hosts import Run

MOST_TASKS = 40
HOSTS = 8
SUITE = "bookworm"
UNIT = "runqy-worker@inference.service"


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """The role's variables."""
    return {
        "runqy_worker_install_method": "wheel",
        "runqy_worker_wheel": str(artifacts.wheel()),
        "runqy_worker_find_links": "/srv/packages",
        "runqy_worker_server_url": "http://127.0.0.1:3000",
        "runqy_worker_api_key": "worker-key",
        "runqy_worker_instances": [{"name": "inference"}, {"name": "billing", "state": "absent"}],
    }


@pytest.fixture(scope="module")
def fleet(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    """Machines that a first run has made workers: one was, and the others are copies of it."""
    directory = tmp_path_factory.mktemp("fleet")
    copied = directory / "root"
    with Machine(prepared(SUITE), directory / "first.console") as first:
        first.copy_in(artifacts.source(), "/root")
        first.sh("tar -xC /srv/site -f /root/source.tar")
        first.systemctl("enable", "--now", "site-redis", "site-control")
        assert play("site.yml", {"first": first}, settings, directory).hosts["first"]["changed"] != []
        first.systemctl("stop", UNIT)
        subprocess.run(["cp", "--archive", "--one-file-system", f"{first.root}/.", str(copied)], check=True)
    with contextlib.ExitStack() as running:
        names = [f"worker-{number}" for number in range(HOSTS)]
        machines = {name: running.enter_context(Machine(copied, directory / f"{name}.console")) for name in names}
        for machine in machines.values():
            machine.systemctl("start", UNIT)
        yield machines
    shutil.rmtree(copied)


def test_a_run_without_changes_costs_few_tasks_per_host_and_as_many_with_one_as_with_eight(
    fleet: dict[str, Machine], settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, one_took = _play({"worker-0": fleet["worker-0"]}, settings, tmp_path)
    together, all_took = _play(fleet, settings, tmp_path)
    counts = {name: len(about["executed"]) for name, about in together.hosts.items()}
    with capsys.disabled():
        print(f"\n{counts['worker-0']} tasks per host; one host took {one_took:.0f} s, {HOSTS} took {all_took:.0f} s")
    assert counts == dict.fromkeys(fleet, len(alone.hosts["worker-0"]["executed"]))
    assert max(counts.values()) <= MOST_TASKS, "\n".join(together.hosts["worker-0"]["executed"])
    assert [about["changed"] for about in together.hosts.values()] == [[]] * HOSTS
    assert [where for where in together.elsewhere if "/tasks/preflight.yml" not in where] == []


def _play(machines: dict[str, Machine], settings: dict[str, Any], directory: Path) -> tuple[Run, float]:
    began = time.monotonic()
    return play("site.yml", machines, settings, directory), time.monotonic() - began
