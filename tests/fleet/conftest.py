"""Machines that site.yml has made workers, and an operator who plays on them."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fleet import artifacts
from fleet.playing import Operator
from fleet.roots import prepared
from host.machine import Machine
from host.needs import missing
from host.rootfs import BUILD, ROOT
from support.tools import missing as tool_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Workers = Callable[[int], dict[str, Machine]]

LONGEST = 900
"""Seconds that a test may take, its fixtures included."""
SUITE = "bookworm"
FIRST = "first"
UNITS = ("runqy-worker@inference.service", "runqy-worker@reports.service")
_KEY_LENGTH = 12
_OLDEST = ROOT / "requirements/ansible-oldest.txt"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give them the time that they need."""
    for item in items:
        if "/fleet/" in str(item.path):
            item.add_marker(pytest.mark.timeout(LONGEST), append=False)


@pytest.fixture(scope="session", autouse=True)
def _host_can_boot_machines() -> None:
    if reasons := missing():
        tool_missing("; ".join(reasons))


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    """The role's variables: from a wheel, two instances, and one that is to be gone."""
    return {
        "wheel": str(artifacts.wheel()),
        "find_links": "/srv/packages",
        "server_url": "http://127.0.0.1:3000",
        "api_key": "worker-key",
        "config": {"bootstrap": {"retry_delay": "200ms"}},
        "instances": [
            {"name": "inference", "memory_max": "1G"},
            {"name": "reports", "environment": {"COLOUR": "blue"}},
            {"name": "billing", "state": "absent"},
        ],
    }


@pytest.fixture(scope="session")
def oldest_ansible() -> Path:
    """The directory of the programs of the oldest Ansible that the collection is for."""
    key = hashlib.sha256(_OLDEST.read_bytes()).hexdigest()[:_KEY_LENGTH]
    path = BUILD / f"ansible-oldest-{key}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "ansible-oldest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / "complete").exists():
            shutil.rmtree(path, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", path], check=True)
            pip = [str(path / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--require-hashes", "--requirement", str(_OLDEST)], check=True)
            (path / "complete").touch()
    return path / "bin"


@pytest.fixture(scope="session")
def first(settings: dict[str, Any], oldest_ansible: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `root`, that of a machine that was made a worker, and `runs.json`: what these runs did and said.

    They were in check mode, for real, again, and in check mode. Tests that run side by side share it.
    """
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / FIRST
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "runs.json").exists():
            _make_first(directory, settings, oldest_ansible)
    return directory


def _make_first(directory: Path, settings: dict[str, Any], ansible: Path) -> None:
    with Machine(prepared(SUITE), directory / "console") as machine:
        machine.copy_in(artifacts.source(), "/root")
        machine.sh("tar -xC /srv/site -f /root/source.tar")
        machine.systemctl("enable", "--now", "site-redis", "site-control")
        operator = Operator(directory, {"first": machine}, settings, ansible)
        kinds = (["--check", "--diff"], ["--diff"], ["--diff"], ["--check", "--diff"])
        runs = [operator.play("site", *args) for args in kinds]
        machine.systemctl("stop", *UNITS)
        copy = ["cp", "--archive", "--one-file-system", f"{machine.root}/.", str(directory / "root")]
        subprocess.run(copy, check=True)
    (directory / "runs.json").write_text(json.dumps([dataclasses.asdict(played) for played in runs]))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the large part of what the tests leave."""
    if not hasattr(session.config, "workerinput"):
        factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
        shutil.rmtree(factory.getbasetemp() / FIRST, ignore_errors=True)


@pytest.fixture(scope="module")
def workers(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Boots that many workers, by name; they end with the tests of the file."""
    directory = tmp_path_factory.mktemp("workers")
    with contextlib.ExitStack() as running:

        def boot(number: int) -> dict[str, Machine]:
            machines = {}
            for name in (f"worker-{count}" for count in range(1, number + 1)):
                machines[name] = running.enter_context(Machine(first / "root", directory / f"{name}.console"))
            for machine in machines.values():
                machine.systemctl("start", *UNITS)
            return machines

        yield boot
