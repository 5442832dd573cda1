"""What an operator types, from the first instance to its removal, against a control server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml
from host.instance import Instance
from host.site import ECHO, REDIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host.machine import Machine
    from host.site import HostSite

NAME, KEY, SERVER = "added", "the-key-of-workers", "http://127.0.0.1:3000"
UNIT = f"runqy-worker@{NAME}.service"


@pytest.fixture
def server(site: HostSite, machine: Machine) -> Iterator[None]:
    """A control server that knows the queue."""
    site.repository(NAME, {"main.py": ECHO})
    deployment = {"git_url": f"file:///srv/git/{NAME}", "startup_cmd": "python main.py", "redis_storage": True}
    queues = {"queues": {NAME: {"priority": 1, "deployment": deployment}}}
    machine.write("/srv/queues.yml", yaml.safe_dump(queues))
    machine.write("/root/key", f"{KEY}\n", mode="600")
    python = ("/usr/lib/runqy-worker/bin/python3", "-m", "runqy_worker.development.serve")
    machine.run(
        *("systemd-run", "--quiet", "--unit=site-server", "--collect", f"--setenv=RUNQY_API_KEY={KEY}", "--"),
        *(*python, "--queues-file", "/srv/queues.yml", "--redis", REDIS),
    )
    machine.until(lambda: machine.run("bash", "-c", "</dev/tcp/127.0.0.1/3000", check=False).returncode == 0, "it")
    yield
    machine.systemctl("stop", "site-server")
    machine.sh("rm -rf /srv/queues.yml /root/key")


@pytest.mark.usefixtures("server")
def test_an_instance_is_added_works_is_examined_and_goes_without_a_trace(site: HostSite, machine: Machine) -> None:
    instance = Instance(site, NAME)
    machine.run(
        *("runqy-worker", "instance", "add", NAME, "--server-url", SERVER, "--api-key-file", "/root/key"),
        *("--concurrency", "2", "--enable", "--start"),
        timeout=120,
    )
    assert instance.show("ActiveState") == "active"
    assert machine.systemctl("is-enabled", UNIT).stdout == "enabled\n"
    assert instance.answer({"n": 1}) == {"n": 1}
    assert KEY not in machine.sh(f"cat /etc/runqy-worker/instances/{NAME}.*; systemctl cat {UNIT}")

    listed = json.loads(machine.run("runqy-worker", "instance", "list", "--json").stdout)
    assert NAME in [one["name"] for one in listed]
    told = json.loads(machine.run("runqy-worker", "status", NAME, "--json").stdout)
    assert told["totals"]["completed"] == 1

    examined = machine.run("runqy-worker", "doctor", NAME, "--json", check=False, timeout=120).stdout
    findings = next(one["findings"] for one in json.loads(examined)["examined"] if one["name"] == NAME)
    assert [one for one in findings if one["level"] == "problem"] == []
    found = {one["check"]: one["found"] for one in findings if one["level"] == "ok"}
    assert {"configuration", "server", "redis", "repository", "interpreter", "unit"} <= set(found)
    (exposure,) = (match[1] for one in findings if (match := re.search(r"exposure is ([\d.]+) of 10", one["found"])))
    overall = machine.run("systemd-analyze", "security", "--no-pager", UNIT).stdout
    assert f"Overall exposure level for {UNIT}: {exposure}" in overall

    refused = machine.run("runqy-worker", "instance", "remove", NAME, check=False)
    assert refused.returncode != 0
    assert instance.answer(2) == 2
    machine.run("runqy-worker", "instance", "remove", NAME, "--stop", "--purge-data", timeout=120)
    assert instance.show("ActiveState") == "inactive"
    left = machine.sh(f"find / -xdev -path /proc -prune -o -name '*{NAME}*' -print | grep runqy || true")
    assert left == ""
