"""Runs playbooks of the collection as an operator does, and counts what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
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
OWN_PROGRAMS = Path(sys.executable).parent


def environ() -> dict[str, str]:
    """What any program needs that plays or tests with the checkout's collection.

    The connections pass variables on to the machines, so pip's of this host are left out.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        **PLAIN,
        "PATH": f"{OWN_PROGRAMS}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT / 'packaging'}",
        "FLEET_COLLECTIONS": str(artifacts.collections()),
        "FLEET_PLUGINS": str(CALLBACKS),
    }


@dataclass(frozen=True)
class Played:
    """What became of a playbook.

    Attributes:
        ok: Whether it succeeded.
        said: What it printed.
        run: What it did on each host.
    """

    ok: bool
    said: str
    run: Run

    def changed(self, host: str) -> list[str]:
        """Names of the tasks that changed something on a host."""
        done: list[str] = self.run.hosts.get(host, {}).get("changed", [])
        return [task.rpartition(" (")[0].rpartition(" : ")[2] for task in done]


def do_tasks(machine: Machine) -> None:
    """Have a worker's instance `inference` do a task.

    Raises:
        AssertionError: It did not; the text is the end of the machine's journal.
    """
    said = machine.run("python3", "/srv/site/client.py", "do", "inference.default", '{"number": 1}').stdout
    assert '"completed"' in said, machine.journal_text()


class Operator:
    """Plays playbooks on machines.

    Args:
        directory: For the inventory and the count.
        machines: The workers, by name.
        settings: The role's variables.
        ansible: The directory of Ansible's programs.
    """

    def __init__(
        self,
        directory: Path,
        machines: Mapping[str, Machine],
        settings: Mapping[str, Any],
        ansible: Path = OWN_PROGRAMS,
    ) -> None:
        self.machines = machines
        self.settings = settings
        self._directory = directory
        self._ansible = ansible

    def play(
        self,
        playbook: str,
        *args: str,
        fails: bool = False,
        others: Mapping[str, Mapping[str, Any]] | None = None,
        **changed: Any,
    ) -> Played:
        """Play a playbook of the collection.

        Args:
            playbook: Its name, of `PLAYBOOKS`, without the suffix.
            args: More words for the command line.
            fails: Whether it is to fail.
            others: Hosts beside the machines, with their variables.
            changed: Variables of the role for this time, without `runqy_worker_`.

        Raises:
            AssertionError: It succeeded or failed against the expectation; the text is what it said.
        """
        inventory, tally = self._inventory(changed, others or {}), self._directory / "tally.jsonl"
        tally.unlink(missing_ok=True)
        done = subprocess.run(
            [self._ansible / "ansible-playbook", "--inventory", inventory, PLAYBOOKS / f"{playbook}.yml", *args],
            env=environ() | self._variables(tally),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{done.stdout}\n{done.stderr}"
        assert (done.returncode != 0) == fails, f"{playbook}: exit code {done.returncode}\n{said[-8000:]}"
        (line,) = tally.read_text().splitlines()
        return Played(done.returncode == 0, said, Run(**json.loads(line)))

    def _inventory(self, changed: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Path:
        hosts = {name: dict(variables) for name, variables in others.items()}
        for name, machine in self.machines.items():
            assert machine.pid > 1, f"{name} does not run"  # process 1 would be this host
            hosts[name] = {"ansible_connection": "community.docker.nsenter", "ansible_nsenter_pid": machine.pid}
        variables = {
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_user": "root",
            **{f"runqy_worker_{name}": value for name, value in {**self.settings, **changed}.items()},
        }
        path = self._directory / "inventory.yml"
        path.write_text(yaml.safe_dump({"workers": {"hosts": hosts, "vars": variables}}))
        return path

    def _variables(self, tally: Path) -> dict[str, str]:
        others = [path.parent for path in OWN_PROGRAMS.parent.glob("lib/python*/site-packages/ansible_collections")]
        return {
            "PATH": f"{self._ansible}:{os.environ['PATH']}",
            "ANSIBLE_COLLECTIONS_PATH": ":".join(map(str, [artifacts.collections(), *others])),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "tally",
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_FORKS": str(len(self.machines) + 1),
            "FLEET_TALLY": str(tally),
        }
