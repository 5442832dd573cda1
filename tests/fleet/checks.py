"""What must be so on every machine, whatever the scenario."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.hosts import Worker, runs

if TYPE_CHECKING:
    from testinfra.host import Host

KEY = "worker-key"
"""The secret of all workers on the site."""
CPU_SCORE, CUDA_SCORE = 1.2, 1.5
"""How exposed a unit may be, by `systemd-analyze security`."""
SANDBOX = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "CapabilityBoundingSet": "",
    "RestrictNamespaces": "yes",
    "Slice": "runqy.slice",
    "Type": "notify",
}


def check_that_nothing_was_left_to_change(machine: str) -> None:
    """The first run and the last were in check mode; the last two changed nothing; nothing failed or went elsewhere."""
    done = runs()
    assert [run.check for run in done] == [True, False, False, True]
    assert done[1].hosts[machine]["changed"] != []
    assert [run.hosts[machine]["changed"] for run in done[2:]] == [[], []]
    assert [run.hosts[machine]["failed"] for run in done] == [[], [], [], []]
    assert {where for run in done for where in run.elsewhere if "/tasks/preflight.yml" not in where} == set()


def check_that_no_secret_was_shown(secret: str = KEY) -> None:
    """All runs were with `--diff`, and their output does not have the secret."""
    said = Path(os.environ["FLEET_LOG"]).read_text(errors="replace")
    assert "+++ after" in said
    assert secret not in said


def check_system_directories(host: Host) -> None:
    """Owner and mode of what belongs to the system are as before."""
    before = host.file("/srv/site/before").content_string
    assert host.check_output("sh /srv/site/directories.sh") == before.strip()


def check_worker(worker: Worker, *, score: float = CPU_SCORE, user: str = "runqy-worker") -> None:
    """It runs with the sandbox that the units promise, comes back with the host, and does tasks end to end."""
    assert worker.is_running, worker.log()
    assert worker.show("UnitFileState") == "enabled"
    assert {name: worker.show(name) for name in SANDBOX} == SANDBOX
    assert worker.show("User") == user
    told = worker.host.check_output("systemd-analyze security --no-pager %s", worker.unit)
    exposure = re.search(r"Overall exposure level for .*: (\d+\.\d+)", told)
    assert exposure is not None
    assert float(exposure[1]) <= score, told
    check_files(worker)
    numbers = [{"number": number} for number in range(5)]
    assert worker.answers(*numbers) == list(range(5))
    (environ,) = worker.answers({"ask": "environ"})
    assert KEY not in json.dumps(environ)
    assert environ["HOME"] == f"/var/lib/runqy-worker/{worker.name}"


def check_files(worker: Worker) -> None:
    """Settings may be read by everybody, secrets by root alone; state belongs to the worker."""
    name, user = worker.name, worker.show("User")
    expected = {
        "/etc/runqy-worker": ("root", "root", "755"),
        "/etc/runqy-worker/config.yml": ("root", "root", "644"),
        "/etc/runqy-worker/instances": ("root", "root", "755"),
        f"/etc/runqy-worker/instances/{name}.yml": ("root", "root", "644"),
        f"/etc/runqy-worker/instances/{name}.env": ("root", "root", "640"),
        "/etc/credstore": ("root", "root", "700"),
        f"/etc/credstore/runqy-worker.{name}.api-key": ("root", "root", "400"),
        f"/var/lib/runqy-worker/{name}": (user, user, "700"),
        f"/run/runqy-worker/{name}/control.sock": (user, "runqy-admin", "660"),
    }
    marks = " ".join("%s" for _ in expected)
    listed = worker.host.check_output(f"stat --format='%%n %%U %%G %%a' {marks}", *expected)
    assert {line.split()[0]: tuple(line.split()[1:]) for line in listed.splitlines()} == expected
    assert KEY not in worker.host.check_output("cat /etc/runqy-worker/config.yml /etc/runqy-worker/instances/*")


def check_units_are_the_shipped_ones(host: Host, units: Path) -> None:
    """The unit files are those of systemd/, to the last byte."""
    for name in ("runqy-worker@.service", "runqy-worker.target", "runqy.slice", "runqy-gpu-devices.service"):
        path = host.check_output("systemctl show --value --property=FragmentPath %s", name.replace("@.", "@any."))
        assert host.file(path).content_string == (units / name).read_text(), path
