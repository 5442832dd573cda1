"""How testinfra reaches the machines of a scenario, and what the checks ask of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.backend.docker import DockerBackend
from testinfra.host import Host

UNITS = "/usr/lib/systemd/system"


class NsenterBackend(BaseBackend):  # type: ignore[misc]
    """Runs commands in the namespaces of a machine's first process.

    Args:
        pid: Of that process, on this host.
    """

    NAME = "nsenter"

    def __init__(self, pid: int, *args: Any, **kwargs: Any) -> None:
        self._pid = pid
        super().__init__(str(pid), *args, **kwargs)

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        """As testinfra has it."""
        told = self.get_command(command, *args)
        enter = f"nsenter --target {self._pid} --mount --uts --ipc --net --pid --cgroup -- env -i"
        variables = "PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8"
        done = self.run_local(f"{enter} {variables} /bin/sh -c %s", told)
        done.command = self.encode(told)
        return done


def machines() -> dict[str, dict[str, Any]]:
    """The hosts of the scenario that runs, with what Ansible knows of them."""
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "inventory/machines.yml"
    hosts: dict[str, dict[str, Any]] = yaml.safe_load(inventory.read_text())["all"]["hosts"]
    return hosts


def reach(name: str) -> Host:
    """A machine, for testinfra."""
    about = machines()[name]
    if about["ansible_connection"] == "community.docker.docker":
        backend: BaseBackend = DockerBackend(about["ansible_host"])
    else:
        assert about["ansible_nsenter_pid"] > 1
        backend = NsenterBackend(about["ansible_nsenter_pid"])
    host = Host(backend)
    backend.set_host(host)
    return host


@dataclass(frozen=True)
class Worker:
    """One instance on a machine.

    Attributes:
        host: The machine.
        name: Of the instance.
    """

    host: Host
    name: str

    @property
    def unit(self) -> str:
        """Its service."""
        return f"runqy-worker@{self.name}.service"

    def show(self, name: str) -> str:
        """A property of its service."""
        return str(self.host.check_output("systemctl show --value --property=%s %s", name, self.unit))

    @property
    def is_running(self) -> bool:
        """Whether its service is active."""
        return self.show("ActiveState") == "active"

    @property
    def pid(self) -> int:
        """The daemon's, by the machine's count; 0 when it does not run."""
        return int(self.show("MainPID"))

    def log(self) -> str:
        """The end of its journal."""
        return str(self.host.run("journalctl --no-pager --lines=60 --unit=%s", self.unit).stdout)

    def answers(self, *payloads: dict[str, Any], queue: str = "") -> list[Any]:
        """Enqueue tasks, wait, and return what they gave; one that failed fails the test and shows the journal."""
        words = [json.dumps(payload) for payload in payloads]
        marks = " ".join("%s" for _ in words)
        target = queue or f"{self.name}.default"
        done = json.loads(self.host.check_output(f"python3 /srv/site/client.py do %s {marks}", target, *words))
        assert [task["state"] for task in done] == ["completed"] * len(payloads), f"{done}\n{self.log()}"
        return [task["result"] for task in done]


@dataclass(frozen=True)
class Run:
    """What a playbook did, as the tally callback noted it.

    Attributes:
        playbook: Its file's name.
        check: Whether it ran in check mode.
        hosts: For each host, lists of tasks: `executed`, `skipped`, `changed`, `failed`.
        elsewhere: Where tasks are defined that were delegated or ran once.
    """

    playbook: str
    check: bool
    hosts: dict[str, dict[str, list[str]]] = field(repr=False)
    elsewhere: list[str] = field(repr=False)


def runs(playbook: str = "converge.yml") -> list[Run]:
    """All runs of a playbook in this scenario, oldest first."""
    lines = (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "tally.jsonl").read_text().splitlines()
    return [run for run in (Run(**json.loads(line)) for line in lines) if run.playbook == playbook]
