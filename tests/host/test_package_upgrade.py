"""An upgrade of the package under load: no task is lost or repeated, and the old daemon goes on as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from host.codes import serving
from host.machine import Machine
from host.packages import PackageHost
from host.rootfs import rootfs
from host.site import HostSite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTING = serving("""\
import os, time
def work(payload):
    time.sleep(0.05)
    with open(os.path.join(os.environ["HOME"], "done"), "a") as file:
        file.write(f"{payload}\\n")
    return payload
""")
ONE_SHOT = """\
import json, os, sys, time
print(json.dumps({"status": "ready"}), flush=True)
task = json.loads(sys.stdin.readline())
with open(os.path.join(os.environ["HOME"], "done"), "a") as file:
    file.write(f"{task['payload']}\\n")
print(json.dumps({"task_id": task["task_id"], "result": task["payload"]}), flush=True)
"""
NEWER = "1"
TASKS = 300


@pytest.fixture
def host(suite: str, tmp_path: Path) -> Iterator[PackageHost]:
    """A machine of its own, with the package."""
    with Machine(rootfs(suite), tmp_path / "console.log") as machine:
        installed = PackageHost(machine, suite)
        installed.install()
        yield installed


@pytest.mark.parametrize("mode", ["long_running", "one_shot"])
def test_an_upgrade_kills_no_task_and_the_old_daemon_still_works_reloads_and_stops(
    host: PackageHost, mode: str
) -> None:
    site, machine = HostSite(host.machine), host.machine
    code = COUNTING if mode == "long_running" else ONE_SHOT
    instance = site.instance({"main.py": code}, worker={"concurrency": 2})
    machine.sh(f"sed -i 's/mode: long_running/mode: {mode}/' /etc/runqy-worker/queues/{instance.name}.yml")
    instance.start()
    daemon = instance.pid
    tasks = instance.enqueue(*range(TASKS))
    machine.until(lambda: machine.exists(f"{instance.state}/done"), "the first task")
    before = host.field("Version")
    host.install(NEWER)
    assert host.field("Version") == f"{before}.{NEWER}"
    assert instance.pid == daemon
    assert instance.show("NRestarts") == "0"

    later = instance.enqueue(*range(TASKS, 2 * TASKS))
    site.repository(instance.name, {"changed": "anything"})
    machine.systemctl("reload", instance.unit, timeout=120)
    assert instance.result(tasks[-1]) == TASKS - 1
    assert instance.result(later[-1]) == 2 * TASKS - 1
    completed = ("redis-cli", "zcard", f"asynq:{{{instance.queue}}}:completed")
    machine.until(lambda: machine.run(*completed).stdout.strip() == str(2 * TASKS), "the last task")
    done = machine.read(f"{instance.state}/done").split()
    assert sorted(map(int, done)) == list(range(2 * TASKS))
    assert instance.pid == daemon

    instance.stop()
    assert instance.show("Result") == "success"
    problems = [entry["MESSAGE"] for entry in instance.entries("-p", "err")]
    assert problems == []

    instance.start()
    assert instance.answer(0) == 0


def test_an_upgrade_keeps_what_was_configured_and_asks_nothing(host: PackageHost) -> None:
    machine = host.machine
    machine.write("/etc/runqy-worker/config.yml", "worker: {concurrency: 2}\n")
    machine.write("/etc/runqy-worker/instances/one.yml", "worker: {queue: one}\n")
    said = host.install(NEWER)
    assert "onfiguration file" not in said
    assert machine.read("/etc/runqy-worker/config.yml") == "worker: {concurrency: 2}\n"
    assert machine.read("/etc/runqy-worker/instances/one.yml") == "worker: {queue: one}\n"
