"""Runs playbooks of the collection as an operator does, and counts what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from fleet import artifacts
from fleet.hosts import Run
from host.rootfs import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host.machine import Machine

PLAYBOOKS = ROOT / "ansible/playbooks"
CALLBACKS = ROOT / "tests/fleet/callbacks"
PLAIN = {"NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_RETRY_FILES_ENABLED": "false"}


def environ() -> dict[str, str]:
    """What any program needs that plays or tests with the checkout's collection."""
    return {
        **os.environ,
        **PLAIN,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'packaging'}",
        "FLEET_COLLECTIONS": str(artifacts.collections()),
        "FLEET_PLUGINS": str(CALLBACKS),
    }


def play(playbook: str, machines: Mapping[str, Machine], settings: Mapping[str, Any], directory: Path) -> Run:
    """Play a playbook of the collection; returns what it did.

    Args:
        playbook: Its name, of `PLAYBOOKS`.
        machines: The workers, by name.
        settings: The role's variables.
        directory: For the inventory and the count.

    Raises:
        AssertionError: It failed; the text is what it said.
    """
    hosts = {}
    for name, machine in machines.items():
        assert machine.pid > 1, f"{name} does not run"  # process 1 would be this host
        hosts[name] = {"ansible_connection": "community.docker.nsenter", "ansible_nsenter_pid": machine.pid}
    inventory = {"workers": {"hosts": hosts, "vars": {"ansible_python_interpreter": "/usr/bin/python3", **settings}}}
    (directory / "inventory.yml").write_text(yaml.safe_dump(inventory))
    tally = directory / "tally.jsonl"
    tally.unlink(missing_ok=True)
    own = {
        "ANSIBLE_COLLECTIONS_PATH": str(artifacts.collections()),
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "tally",
        "ANSIBLE_FORKS": str(len(machines)),
        "FLEET_TALLY": str(tally),
    }
    done = subprocess.run(
        ["ansible-playbook", "--inventory", str(directory / "inventory.yml"), str(PLAYBOOKS / playbook)],
        env=environ() | own,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{playbook}: exit code {done.returncode}\n{done.stdout[-8000:]}\n{done.stderr}"
    (line,) = tally.read_text().splitlines()
    return Run(**json.loads(line))
