"""The fleet has the new version, and every task was done once."""

from __future__ import annotations

import json

from fleet import checks
from fleet.hosts import Worker, runs

from runqy_worker.version import __version__


def test_runs_change_once_and_check_mode_works_before_and_after(machine):
    checks.check_that_nothing_was_left_to_change(machine)


def test_all_hosts_have_the_new_version_and_run_it(machine, host):
    worker = Worker(host, "inference")
    assert worker.is_running, worker.log()
    if machine == "deb-1":
        assert host.package("runqy-worker").version == f"{__version__}+deb13.1"
    else:
        assert host.check_output("readlink /opt/runqy-worker/current").startswith(__version__)
        there = host.check_output("ls /opt/runqy-worker").split()
        assert [name.partition("-")[0] for name in there] == ["0.0.9", __version__, "current", "uv", "wheels"]
    assert worker.pid != int(host.file("/srv/site/pid-before").content_string)
    program = host.check_output("runqy-worker status --json")
    assert json.loads(program)[0]["status"]["restart_needed"] == []


def test_no_task_was_lost_or_done_twice(host):
    worker = Worker(host, "inference")
    ids = json.loads(host.file("/srv/site/sent.json").content_string)
    assert len(ids) > 50
    tasks = json.loads(host.check_output("python3 /srv/site/client.py wait </srv/site/sent.json"))
    assert [task["state"] for task in tasks] == ["completed"] * len(ids), worker.log()
    assert [task["result"] for task in tasks] == list(range(len(ids)))
    done = host.file("/var/lib/runqy-worker/inference/done").content_string.split()
    assert sorted(map(int, done)) == list(range(len(ids)))


def test_nothing_failed_on_the_way(machine):
    (upgrade,) = runs("side_effect.yml")
    assert upgrade.hosts[machine]["failed"] == []


def test_the_worker_runs_in_its_sandbox_and_does_tasks(host):
    checks.check_worker(Worker(host, "inference"))
