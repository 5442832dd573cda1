"""What an operator does to a running worker, with the real commands over the real socket."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from support.worker_site import ECHO, runqy_worker

if TYPE_CHECKING:
    from support.worker_site import Repository, Site, WorkerProcess

VERSION = """\
import json, sys, time
print(json.dumps({{"status": "ready"}}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    time.sleep({seconds})
    with open({log!r}, "a") as log:
        log.write(f"{{task['task_id']}} {version} {{time.monotonic()}}\\n")
    print(json.dumps({{"task_id": task["task_id"], "result": {version}}}), flush=True)
"""
GATED = """\
import json, os, sys, time
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    while not os.path.exists(task["payload"]):
        time.sleep(0.02)
    print(json.dumps({"task_id": task["task_id"], "result": None}), flush=True)
"""
SLEEP = """\
import json, sys, time
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    time.sleep(task["payload"])
    print(json.dumps({"task_id": task["task_id"], "result": 1}), flush=True)
"""
BROKEN = "raise SystemExit('this commit is broken')"


class Versions:
    """A queue whose task code is a numbered version, and a worker on it."""

    def __init__(self, site: Site, *, seconds: float = 0.0, **sections: dict[str, Any]) -> None:
        self.site = site
        self.log = site.directory / "runs"
        self.seconds = seconds
        self.repository: Repository = site.queue("jobs", {"main.py": self.code(1)})
        self.worker: WorkerProcess = site.start(**sections)
        self.worker.wait_for_line("ready")

    def code(self, version: int) -> str:
        return VERSION.format(version=version, log=str(self.log), seconds=self.seconds)

    def commit(self, version: int) -> str:
        return self.repository.commit({"main.py": self.code(version)})

    def serving(self) -> int:
        """The version that a task meets."""
        (task,) = self.site.enqueue("jobs.default", 0)
        return int(self.site.finished(task).result or b"")

    def runs(self) -> list[tuple[str, int, float]]:
        """Every run of a task, in order: id, version, when it ended."""
        rows = [line.split() for line in self.log.read_text().splitlines()]
        return [(task, int(version), float(at)) for task, version, at in rows]


def test_deploy_waits_for_the_newest_commit_to_serve(site: Site) -> None:
    versions = Versions(site)
    commit = versions.commit(2)
    done = versions.worker.command("deploy", "--wait")
    assert (done.returncode, versions.serving()) == (0, 2), done.stderr
    assert f"jobs: {commit[:12]}" in done.stdout
    assert "checking out" in done.stderr
    last = versions.worker.status()["deploy"]["last"]
    assert (last["ok"], last["lanes"][0]["commit"], last["lanes"][0]["outcome"]) == (True, commit, "switched")


def test_deploy_of_a_broken_commit_fails_with_the_reason_and_the_old_one_serves(site: Site) -> None:
    versions = Versions(site)
    versions.repository.commit({"main.py": BROKEN})
    done = versions.worker.command("deploy", "--wait")
    assert done.returncode == 75
    assert "runqy-worker: jobs: process died (exit code 1) before it was ready" in done.stderr
    assert "this commit is broken" in done.stderr
    assert versions.serving() == 1
    last = versions.worker.status()["deploy"]["last"]
    assert (last["ok"], "this commit is broken" in last["message"]) == (False, True)
    assert "deploy failed" in versions.worker.command("status").stdout


def test_deploy_without_news_starts_no_process_unless_forced(site: Site) -> None:
    versions = Versions(site)
    done = versions.worker.command("deploy", "--wait")
    assert (done.returncode, "nothing new" in done.stdout) == (0, True), done
    assert len(versions.worker.lines("child_ready")) == 1
    assert versions.worker.command("deploy", "--wait", "--force").returncode == 0
    assert len(versions.worker.lines("child_ready")) == 2


def test_new_variables_are_news(site: Site) -> None:
    versions = Versions(site)
    site.queues["jobs"]["deployment"]["env_vars"] = {"COLOUR": "green"}
    (site.directory / "queues.yml").write_text(yaml.safe_dump({"queues": site.queues}))
    assert versions.worker.command("deploy", "--wait").returncode == 0
    assert len(versions.worker.lines("child_ready")) == 2


def test_an_overlapping_deploy_under_load_loses_and_repeats_nothing(site: Site) -> None:
    versions = Versions(site, seconds=0.002, worker={"concurrency": 4}, deployment={"switch": "overlap"})
    ids = site.enqueue("jobs.default", *range(200))
    versions.worker.wait_for(versions.log.exists, "the first task")
    versions.commit(2)
    deploy = subprocess.Popen(
        [sys.executable, "-m", "runqy_worker", "deploy", "--wait", "--json", "--config", str(versions.worker.config)],
        stdout=subprocess.PIPE,
    )
    while deploy.poll() is None:
        ids += site.enqueue("jobs.default", *range(100))
    ids += site.enqueue("jobs.default", *range(100))
    out = json.loads(deploy.communicate()[0])
    assert out["lanes"][0]["pause"] == 0
    versions.worker.wait_for(lambda: len(versions.runs()) >= len(ids), "all tasks")
    runs = versions.runs()
    assert Counter(task for task, _, _ in runs) == Counter(ids)
    order = [version for _, version, _ in runs]
    switch = order.index(2)
    assert 0 < switch < len(order) - 1
    assert order[switch:].count(1) <= 4  # what the old process had in hand
    around = [after[2] - before[2] for before, after in itertools.pairwise(runs[switch - 5 : switch + 5])]
    sys.stdout.write(f"{len(ids)} tasks; longest gap around the switch: {max(around) * 1000:.1f} ms\n")


def test_a_stop_first_deploy_tells_its_pause(site: Site) -> None:
    versions = Versions(site, deployment={"switch": "stop_first"})
    versions.commit(2)
    done = versions.worker.command("deploy", "--wait", "--json")
    assert json.loads(done.stdout)["lanes"][0]["pause"] > 0
    assert "no task could start for" in versions.worker.command("status").stdout
    assert versions.serving() == 2


def test_rollback_returns_to_the_release_before_which_stays(site: Site) -> None:
    versions = Versions(site)
    versions.commit(2)
    assert versions.worker.command("deploy", "--wait").returncode == 0
    done = versions.worker.command("release", "rollback")
    assert (done.returncode, versions.serving()) == (0, 1), done.stderr
    states = [row.split()[-1] for row in versions.worker.command("release", "list").stdout.splitlines()[1:]]
    assert states == ["use", "back"]
    done = versions.worker.command("deploy", "--wait")  # the branch has not moved on
    assert (done.returncode, versions.serving()) == (0, 1), done.stderr
    assert "was rolled back before" in done.stderr
    assert versions.worker.command("deploy", "--wait", "--force").returncode == 0
    assert versions.serving() == 2


def test_rollback_without_an_earlier_release_changes_nothing(site: Site) -> None:
    versions = Versions(site)
    done = versions.worker.command("release", "rollback")
    assert (done.returncode, "no earlier good release" in done.stderr) == (75, True)
    assert versions.serving() == 1
    assert versions.worker.command("release", "rollback", "--queue", "other").returncode == 75


def test_rollback_to_a_release_that_no_longer_starts_leaves_the_present_one_good(site: Site) -> None:
    versions = Versions(site)
    versions.commit(2)
    assert versions.worker.command("deploy", "--wait").returncode == 0
    [old] = [one for one in (site.directory / "deployment/releases/jobs").iterdir() if _is_old(one, "1")]
    (old / "code/main.py").write_text(BROKEN)
    done = versions.worker.command("release", "rollback")
    assert (done.returncode, "this commit is broken" in done.stderr) == (75, True), done.stderr
    assert versions.serving() == 2
    shown = json.loads(versions.worker.command("release", "list", "--json").stdout)[0]["releases"]
    assert [(one["in_use"], one["good"]) for one in shown] == [(True, True), (False, True)]


def _is_old(release: Path, version: str) -> bool:
    code = release / "code/main.py"
    return not release.is_symlink() and code.exists() and f"{{task['task_id']}} {version} " in code.read_text()


def test_quiet_and_resume(site: Site) -> None:
    versions = Versions(site)
    done = versions.worker.command("quiet")
    assert (done.returncode, done.stdout) == (0, "quiet: nothing more is claimed, 0 running tasks go on\n")
    assert versions.worker.command("quiet").stdout == "was quiet already\n"
    (task,) = site.enqueue("jobs.default", 0)
    status = versions.worker.status()
    assert (status["quiet"], status["lanes"][0]["engine"]) == (True, "quiet")
    assert site.task(task).state == "pending"
    assert versions.worker.command("resume").stdout == "tasks are claimed again\n"
    assert site.finished(task).state == "completed"


def test_drain_lets_running_tasks_end_and_the_worker_exit(site: Site) -> None:
    site.queue("jobs", {"main.py": GATED})
    worker = site.start()
    worker.wait_for_line("ready")
    gate = site.directory / "gate"
    running, waiting = site.enqueue("jobs.default", str(gate), str(gate))
    worker.wait_for(lambda: worker.status()["lanes"][0]["running"], "the task running")
    with ThreadPoolExecutor(1) as beside:
        drained = beside.submit(worker.command, "drain", "--wait")
        worker.wait_for(lambda: worker.status()["phase"] == "stopping", "the drain")
        gate.touch()
        done = drained.result()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ended: 1 tasks completed, 0 failed")
    assert worker.process.wait(timeout=30) == 0
    assert (site.task(running).state, site.task(waiting).state) == ("completed", "pending")
    done = worker.command("status")
    assert (done.returncode, "no worker is running" in done.stderr) == (69, True)


def test_a_draining_worker_deploys_nothing(site: Site) -> None:
    site.queue("jobs", {"main.py": GATED})
    worker = site.start()
    worker.wait_for_line("ready")
    gate = site.directory / "gate"
    site.enqueue("jobs.default", str(gate))
    worker.wait_for(lambda: worker.status()["lanes"][0]["running"], "the task running")
    assert worker.command("drain").stdout == "draining: 1 running tasks may end, then the worker does\n"
    done = worker.command("deploy", "--wait")
    assert (done.returncode, "the worker is stopping" in done.stderr) == (75, True)
    assert worker.status()["phase"] == "stopping"
    gate.touch()
    assert worker.process.wait(timeout=30) == 0


def test_status_tells_all_about_it(site: Site) -> None:
    site.queue("jobs", {"main.py": SLEEP}, sub_queues={"high": 9, "low": 1})
    worker = site.start(worker={"concurrency": 2})
    worker.wait_for_line("ready")
    (task,) = site.enqueue("jobs.high", 600)
    worker.wait_for(lambda: worker.status()["lanes"][0]["running"], "the task running")
    status = worker.status()
    [lane] = status["lanes"]
    assert (status["phase"], status["ready"], status["pid"]) == ("serving", True, worker.process.pid)
    assert (lane["parent"], lane["queues"], lane["slots"]) == ("jobs", {"jobs.high": 9, "jobs.low": 1}, 2)
    assert [(one["id"], one["queue"]) for one in lane["running"]] == [(task, "jobs.high")]
    assert (lane["engine"], lane["executor"]["state"], lane["backend_answers"]) == ("running", "ready", True)
    assert (status["totals"]["started"], status["restart_needed"], status["reload_needed"]) == (1, [], [])
    page = worker.command("status").stdout
    assert f"{task}  jobs.high" in page
    assert "jobs.high:9, jobs.low:1" in page


def test_a_worker_that_is_not_ready_tells_why_and_deploys_when_asked(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": BROKEN})
    worker = site.start(bootstrap={"retry_delay": "1h"})
    worker.wait_for_line("bootstrap_failed")
    assert worker.status()["phase"] == "starting"
    done = worker.command("deploy", "--wait")
    assert (done.returncode, "this commit is broken" in done.stderr) == (75, True)
    repository.commit({"main.py": ECHO})
    done = worker.command("deploy", "--wait")
    assert (done.returncode, done.stdout) == (0, "jobs: became ready\n"), done.stderr


def test_those_who_ask_during_a_deploy_share_the_next(site: Site) -> None:
    versions = Versions(site)
    marker = site.directory / "go"
    slow = f"import os, time\nwhile not os.path.exists({str(marker)!r}): time.sleep(0.01)\n"
    versions.repository.commit({"main.py": slow + versions.code(2)})

    def ask() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "runqy_worker", "deploy", "--wait", "--config", str(versions.worker.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    asking = [ask()]
    versions.worker.wait_for(lambda: len(versions.worker.lines("deploy_checking_out")) == 2, "the first deploy")
    asking += [ask(), ask()]
    versions.worker.wait_for(lambda: len(versions.worker.lines("control_asked")) == 3, "all three asking")
    commit = versions.commit(3)  # newer than what the first of them saw
    marker.touch()
    outs = [one.communicate()[0].decode() for one in asking]
    assert [one.returncode for one in asking] == [0, 0, 0]
    assert sum(commit[:12] in out for out in outs) == 2
    assert len(versions.worker.lines("reload_started")) == 2
    assert versions.serving() == 3


def test_a_client_that_hangs_disturbs_nobody(site: Site) -> None:
    versions = Versions(site)
    path = site.directory / "deployment/.runqy/control.sock"
    fd = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.connect(f"/proc/self/fd/{fd}/control.sock")
        hanging.sendall(b'{"v":1,"verb":"sta')
        assert versions.worker.status()["ready"]
        assert versions.serving() == 1
        assert versions.worker.stop() == 0
    os.close(fd)


def test_the_socket_is_for_owner_and_group_and_goes_with_the_worker(site: Site) -> None:
    versions = Versions(site)
    path = site.directory / "deployment/.runqy/control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    versions.worker.signal(signal.SIGKILL)
    versions.worker.process.wait(timeout=10)
    assert path.exists()
    again = site.start()
    again.wait_for_line("ready")
    assert again.status()["pid"] == again.process.pid
    assert again.stop() == 0
    assert not path.exists()


def test_a_second_worker_on_a_chosen_socket_ends_and_one_on_the_usual_place_works_without(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    chosen = {"socket": str(site.directory / "c.sock")}
    first = site.start(control=chosen)
    first.wait_for_line("ready")
    second = site.start(control=chosen)
    assert second.process.wait(timeout=30) == 75
    assert f"another process ({first.process.pid}) listens at" in second.log_text()
    assert first.stop() == 0
    usual = site.start()
    usual.wait_for_line("ready")
    beside = site.start()
    assert "control.socket names another place" in beside.wait_for_line("control_unavailable")["message"]
    beside.wait_for_line("ready")


def test_instances_are_listed_with_those_that_are_stopped(site: Site) -> None:
    run, etc = site.directory / "run", site.directory / "etc"
    for folder in (run / "jobs", etc):
        folder.mkdir(parents=True)
    for name in ("jobs", "idle"):
        (etc / f"{name}.yml").touch()
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start(env={"RUNTIME_DIRECTORY": f"{run}/jobs:{run}/other"})
    worker.wait_for_line("ready")
    places = ("--run-dir", str(run), "--instances-dir", str(etc))
    rows = [row.split() for row in runqy_worker("status", *places).stdout.splitlines()]
    assert [row[:3] for row in rows] == [
        ["INSTANCE", "STATE", "RUNNING"],
        ["idle", "stopped"],
        ["jobs", "running", "0/1"],
    ]
    listed = json.loads(runqy_worker("status", "--json", *places).stdout)
    assert [(one["name"], one["state"]) for one in listed] == [("idle", "stopped"), ("jobs", "running")]
    assert json.loads(runqy_worker("status", "jobs", "--json", *places[:2]).stdout)["pid"] == worker.process.pid
    (etc / "jobs.env").write_text("RUNQY_CONCURRENCY=2\n")
    done = runqy_worker("status", *places)
    assert f"jobs: restart needed: {etc}/jobs.env changed since the worker was started" in done.stdout
    done = runqy_worker("deploy", "idle", *places[:2])
    assert (done.returncode, "idle: no worker is running" in done.stderr) == (69, True)
    done = runqy_worker("deploy", "../jobs", *places[:2])
    assert (done.returncode, "expected the name of an instance" in done.stderr) == (69, True)


def test_a_worker_whose_files_are_replaced_still_works_deploys_and_stops(site: Site) -> None:
    """As an upgrade does: the old program's files are gone, others are there."""
    library = site.directory / "lib"
    source = Path(__file__).parents[3] / "runqy_worker"
    shutil.copytree(source, library / "runqy_worker", ignore=shutil.ignore_patterns("__pycache__"))
    repository = site.queue("jobs", {"main.py": ECHO.replace('task["payload"]', "1")})
    worker = site.start(env={"PYTHONPATH": str(library), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    worker.wait_for_line("ready")
    shutil.rmtree(library / "runqy_worker")
    (library / "runqy_worker").mkdir()
    (library / "runqy_worker/version.py").write_text('__version__ = "99.0"\n')
    [reason] = worker.status()["restart_needed"]
    assert reason.endswith("runs, and 99.0 is installed")
    assert site.finished(site.enqueue("jobs.default", 0)[0]).result == b"1"
    repository.commit({"main.py": ECHO.replace('task["payload"]', "2"), "requirements.txt": ""})
    assert worker.command("deploy", "--wait").returncode == 0
    assert site.finished(site.enqueue("jobs.default", 0)[0]).result == b"2"
    assert worker.command("release", "rollback").returncode == 0
    assert site.finished(site.enqueue("jobs.default", 0)[0]).result == b"1"
    assert worker.stop() == 0


def test_the_configuration_is_read_again_and_what_needs_a_restart_is_named(site: Site) -> None:
    versions = Versions(site)
    settings = yaml.safe_load(versions.worker.config.read_text())
    settings["worker"] |= {"shutdown_timeout": "100ms", "concurrency": 3}
    settings["log"]["level"] = "warning"
    versions.worker.config.write_text(yaml.safe_dump(settings))
    [stale] = versions.worker.status()["reload_needed"]
    assert stale.endswith("changed since it was read")
    done = versions.worker.command("deploy", "--wait")
    assert (done.returncode, "changed settings are in force: worker.shutdown_timeout, log.level" in done.stderr) == (
        0,
        True,
    ), done.stderr
    status = versions.worker.status()
    assert (status["reload_needed"], status["lanes"][0]["slots"]) == ([], 1)
    [reason] = status["restart_needed"]
    assert reason.endswith("worker.concurrency")
    assert "worker.concurrency" in versions.worker.lines("config_needs_restart")[0]["message"]


def test_a_configuration_that_is_broken_by_now_fails_the_deploy(site: Site) -> None:
    versions = Versions(site)
    versions.worker.config.write_text("worker: [")
    done = runqy_worker("deploy", "--wait", "--socket", str(site.directory / "deployment/.runqy/control.sock"))
    assert (done.returncode, versions.worker.config.name in done.stderr) == (75, True), done.stderr
    assert versions.serving() == 1


def test_new_sub_queues_are_served_after_a_deploy(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO}, sub_queues={"high": 9})
    worker = site.start()
    worker.wait_for_line("ready")
    site.queues["jobs"]["sub_queues"].append({"name": "low", "priority": 1})
    (site.directory / "queues.yml").write_text(yaml.safe_dump({"queues": site.queues}))
    (task,) = site.enqueue("jobs.low", 1)
    assert worker.command("deploy", "--wait").returncode == 0
    assert site.finished(task).state == "completed"
    assert worker.status()["lanes"][0]["queues"] == {"jobs.high": 9, "jobs.low": 1}
