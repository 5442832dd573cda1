"""Start, status, stop, restart: what an operator sees of one instance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from host.codes import ENVIRON, WAITS_FOR_A_FILE

if TYPE_CHECKING:
    from host.machine import Machine
    from host.site import HostSite

QUICK = "[Service]\nRestartSec=100ms\n"
IMPATIENT = "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\nRestartSec=100ms\n"


def test_start_returns_when_the_worker_is_ready_and_status_tells_of_it(site: HostSite) -> None:
    instance = site.instance()
    commit = site.repository(instance.name, {"more.py": ""})
    instance.start()
    assert "ready" in instance.actions()
    assert "credential" not in instance.log()
    for number in range(2):
        assert instance.answer(number) == number
    expected = rf"{instance.name}: running 0/1, 2 done, 0 failed, [0-9.]+ m?s wait, release {commit[:7]}"
    site.machine.until(lambda: re.fullmatch(expected, instance.show("StatusText")), "the status line")


def test_a_configuration_that_cannot_be_used_fails_the_start_and_is_not_tried_again(site: HostSite) -> None:
    instance = site.instance(worker={"concurency": 2}, drop_ins={"quick.conf": QUICK})
    done = instance.start(check=False)
    assert done.returncode != 0
    assert instance.show("ActiveState") == "failed"
    assert instance.show("ExecMainStatus") == "78"
    assert instance.show("NRestarts") == "0"
    assert "worker.concurency is not known; did you mean worker.concurrency?" in instance.log()


def test_an_instance_without_a_file_fails_at_once(site: HostSite) -> None:
    done = site.machine.systemctl("start", "runqy-worker@nobody", check=False)
    assert done.returncode != 0
    assert "Assertion failed" in done.stderr
    assert not site.machine.exists("/var/lib/runqy-worker/nobody")


def test_code_that_does_not_start_fails_the_start_with_the_reason_in_the_journal(site: HostSite) -> None:
    files = {"main.py": "raise SystemExit('no model here')\n"}
    drop_ins = {"once.conf": "[Service]\nRestart=no\n"}
    instance = site.instance(files, drop_ins=drop_ins, bootstrap={"give_up": True})
    assert instance.start(check=False).returncode != 0
    assert instance.show("ExecMainStatus") == "75"
    assert "no model here" in instance.log()


def test_what_may_heal_is_started_again_and_again(site: HostSite, machine: Machine) -> None:
    instances = [site.instance(drop_ins={"exit.conf": _exits_with(code)}) for code in (1, 69, 70, 75, 77, 80)]
    machine.systemctl("start", "--no-block", *(instance.unit for instance in instances))
    for instance in instances:
        instance.until(lambda one: one.restarts > 5, "the sixth restart")


@pytest.mark.parametrize("code", [64, 78])
def test_what_time_cannot_heal_is_not_started_again(site: HostSite, code: int) -> None:
    instance = site.instance(drop_ins={"exit.conf": _exits_with(code)})
    assert instance.start(check=False).returncode != 0
    assert instance.show("ActiveState") == "failed"
    assert instance.show("NRestarts") == "0"


def test_a_wrong_argument_is_not_tried_again(site: HostSite) -> None:
    run = "[Service]\nRestartSec=100ms\nExecStart=\nExecStart=/usr/bin/runqy-worker run --nonsense\n"
    instance = site.instance(drop_ins={"run.conf": run})
    assert instance.start(check=False).returncode != 0
    assert instance.show("ExecMainStatus") == "64"
    assert instance.show("NRestarts") == "0"


def test_stop_waits_for_a_running_task_longer_than_the_static_timeout(site: HostSite, machine: Machine) -> None:
    patience = "[Service]\nTimeoutStopSec=1s\n"
    instance = site.instance({"main.py": WAITS_FOR_A_FILE}, drop_ins={"patience.conf": patience})
    instance.start()
    running, waiting = instance.enqueue("first", "second")
    machine.until(lambda: machine.exists(f"{instance.state}/began"), "the task")
    machine.systemctl("stop", "--no-block", instance.unit)
    machine.until(lambda: "drain_started" in instance.actions(), "the drain")
    machine.run("sleep", "4")
    assert instance.show("ActiveState") == "deactivating"
    machine.sh(f"touch {instance.state}/go")
    machine.until(lambda: instance.show("ActiveState") == "inactive", "the stop")
    assert instance.show("Result") == "success"
    assert site.task(running, instance.queue).state == "completed"
    assert site.task(waiting, instance.queue).state == "pending"


def test_a_killed_daemon_is_restarted_and_leaves_no_process(site: HostSite, machine: Machine) -> None:
    instance = site.instance({"main.py": WAITS_FOR_A_FILE}, drop_ins={"quick.conf": QUICK})
    instance.start()
    (task,) = instance.enqueue("once")
    machine.until(lambda: machine.exists(f"{instance.state}/began"), "the task")
    before, children = instance.pid, instance.children()
    assert children
    machine.run("kill", "-KILL", str(before))
    machine.until(lambda: instance.show("NRestarts") == "1" and instance.show("ActiveState") == "active", "the restart")
    assert not set(children) & set(instance.children())
    assert not [pid for pid in children if machine.exists(f"/proc/{pid}/environ")]
    machine.sh(f"touch {instance.state}/go")
    assert instance.result(task) == "done"


def test_a_worker_that_stands_still_is_ended_and_restarted_by_the_watchdog(site: HostSite, machine: Machine) -> None:
    instance = site.instance(drop_ins={"impatient.conf": IMPATIENT})
    instance.start()
    machine.run("kill", "-STOP", str(instance.pid))
    machine.until(lambda: instance.show("NRestarts") == "1" and instance.show("ActiveState") == "active", "the restart")
    assert "Watchdog timeout" in instance.log()
    assert instance.answer("again") == "again"


def test_a_worker_whose_redis_is_away_is_left_alone(site: HostSite, machine: Machine) -> None:
    instance = site.instance(drop_ins={"impatient.conf": IMPATIENT})
    instance.start()
    before = instance.pid
    site.stop_redis()
    try:
        machine.until(lambda: "its backend does not answer" in instance.show("StatusText"), "the status")
        machine.run("sleep", "8")
        assert instance.pid == before
        assert instance.show("NRestarts") == "0"
    finally:
        site.start_redis()
    assert instance.answer("back") == "back"
    assert instance.pid == before


def test_task_code_gets_the_instance_s_places_and_nothing_of_the_service_manager(site: HostSite) -> None:
    instance = site.instance({"main.py": ENVIRON})
    instance.variables(COLOUR="blue", RUNQY_LOG_LEVEL="debug")
    instance.credential("health-token", "s3cret")
    instance.start()
    environ = instance.answer()
    assert environ["COLOUR"] == "blue"
    assert environ["HOME"] == instance.state
    places = ("TMPDIR", "XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "HF_HOME")
    for name in (*places, "TORCH_HOME"):
        assert environ[name].startswith(f"{instance.state}/"), name
    assert site.machine.exists(environ["TMPDIR"])
    alone = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "INVOCATION_ID"}
    assert not alone & environ.keys()
    assert not [name for name in environ if name.startswith("RUNQY_")]


def _exits_with(code: int) -> str:
    return f"[Service]\nRestartSec=20ms\nExecStart=\nExecStart=/bin/sh -c 'exit {code}'\n"
