"""Task code and repositories that can't be started: the error is clear, tasks wait, and run once it is mended."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from integration.bad_input.mending import assert_waits, write_queues
from support.worker_site import ECHO

if TYPE_CHECKING:
    from typing import Any

    from support.worker_site import Site, WorkerProcess

NEVER_READY = "import time\nprint('loading', flush=True)\ntime.sleep(600)\n"
REPORTS = 'import json\nprint(json.dumps({"status": "error", "error": "model file is missing"}), flush=True)\n'
STARTS_ONCE = """\
import json, os, sys
if os.path.exists({marker!r}):
    sys.exit("the GPU is gone")
open({marker!r}, "w").close()
print(json.dumps({{"status": "ready"}}), flush=True)
input()
os._exit(1)
"""

CODE = {
    "never ready": (NEVER_READY, "the process was not ready within 1 s"),
    "reports an error": (REPORTS, "model file is missing"),
    "exits before ready": ("raise SystemExit('no GPU here')", "no GPU here"),
    "exits with 0 before ready": ("", "process exited without being asked (exit code 0) before it was ready"),
    "does not compile": ("def main(:\n", "SyntaxError: invalid syntax"),
    "imports what is not there": ("import numpy_of_tomorrow\n", "No module named 'numpy_of_tomorrow'"),
}
SETTINGS = {
    "branch": ({"branch": "nope"}, "has no branch, tag or commit 'nope'"),
    "code path": ({"code_path": "src/nope"}, "src/nope"),
    "program": ({"startup_cmd": "pyhton main.py"}, "the program 'pyhton' is neither in the environment nor on PATH"),
    "needs a shell": ({"startup_cmd": "cd src && python main.py"}, "no shell runs it"),
    "open quote": ({"startup_cmd": "python 'main.py"}, "can't be split into words"),
    "requirements file": ({"requirements_file": "nope.txt"}, "nope.txt"),
    "address": ({"git_url": "ext::sh -c 'echo no'"}, "deployment.git_url"),
}
REQUIREMENTS = {
    "a line, uv": ("uv", "=== not a requirement ===\n", "a requirement line can't be understood"),
    "no such package": ("uv", "--no-index\nno-such-package-of-runqy==1.0\n", "no-such-package-of-runqy was not found"),
    "index away": (
        "uv",
        "--index-url http://127.0.0.1:9/simple\nno-such-package==1.0\n",
        "the package index can't be reached",
    ),
    "a line, venv": ("venv", "=== not a requirement ===\n", "a requirement line can't be understood"),
}


def refusal(worker: WorkerProcess) -> str:
    """What it says about not getting ready."""
    return str(worker.wait_for_line("bootstrap_failed", seconds=30)["message"])


@pytest.mark.parametrize(("code", "words"), CODE.values(), ids=CODE.keys())
def test_code_that_does_not_get_ready_is_explained_and_its_task_waits(site: Site, code: str, words: str) -> None:
    repository = site.queue("jobs", {"main.py": code}, startup_timeout_secs=1)
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start()
    assert words in refusal(worker)
    assert_waits(site, task)
    repository.commit({"main.py": ECHO})
    assert site.finished(task).state == "completed"
    assert worker.stop() == 0


@pytest.mark.parametrize(("wrong", "words"), SETTINGS.values(), ids=SETTINGS.keys())
def test_a_wrong_deployment_is_explained_and_its_task_waits(site: Site, wrong: dict[str, Any], words: str) -> None:
    site.queue("jobs", {"main.py": ECHO})
    right = site.queues["jobs"]["deployment"]
    site.queues["jobs"]["deployment"] = right | wrong
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start()
    assert words in refusal(worker)
    assert_waits(site, task)
    site.queues["jobs"]["deployment"] = right
    write_queues(site)
    assert site.finished(task).state == "completed"


@pytest.mark.parametrize(("installer", "lines", "words"), REQUIREMENTS.values(), ids=REQUIREMENTS.keys())
def test_requirements_that_cannot_be_installed_are_explained(
    site: Site, installer: str, lines: str, words: str
) -> None:
    repository = site.queue("jobs", {"main.py": ECHO, "requirements.txt": lines})
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start(deployment={"installer": installer}, env={"UV_HTTP_RETRIES": "0"})
    message = refusal(worker)
    assert words in message
    assert "requirements.txt" in message
    assert_waits(site, task)
    repository.commit({"requirements.txt": ""})
    assert site.finished(task).state == "completed"


def test_sighup_shortens_the_pause_before_the_next_attempt(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": "raise SystemExit('no GPU here')"})
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start(bootstrap={"retry_delay": "1h"})
    assert "no GPU here" in refusal(worker)
    repository.commit({"main.py": ECHO})
    worker.signal(signal.SIGHUP)
    assert site.finished(task).state == "completed"


def test_a_repository_that_is_gone_is_named_and_its_task_waits(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": ECHO})
    away = repository.path.rename(site.directory / "away")
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start()
    assert f"there is no repository {repository.path}" in refusal(worker)
    assert_waits(site, task)
    away.rename(repository.path)
    assert site.finished(task).state == "completed"


def test_a_repository_that_is_gone_at_a_restart_leaves_the_last_good_release(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    worker.wait_for_line("ready")
    assert worker.stop() == 0
    shutil.rmtree(repository.path)
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start()
    assert site.finished(task).state == "completed"
    assert "the last good release" in worker.wait_for_line("deploy_fell_back")["message"]


def test_a_release_that_does_not_start_leaves_the_one_before(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    worker.wait_for_line("ready")
    assert worker.stop() == 0
    repository.commit({"main.py": "raise SystemExit('broken commit')"})
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start()
    assert site.finished(task).state == "completed"
    assert "broken commit" in worker.wait_for_line("start_fell_back")["message"]


def test_a_reload_that_fails_disturbs_nobody(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    worker.wait_for_line("ready")
    repository.commit({"requirements.txt": "=== not a requirement ===\n"})
    worker.signal(signal.SIGHUP)
    assert "a requirement line can't be understood" in worker.wait_for_line("reload_failed")["message"]
    (task,) = site.enqueue("jobs.default", 1)
    assert site.finished(task).state == "completed"
    assert len(worker.lines("child_ready")) == 1


def test_code_that_cannot_be_kept_alive_degrades_the_worker_and_keeps_its_tasks(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": STARTS_ONCE.format(marker=str(site.directory / "started"))})
    ids = site.enqueue("jobs.default", *range(8))
    worker = site.start(worker={"concurrency": 4}, recovery={"max_restarts": 1})
    assert "no more restarts" in worker.wait_for_line("executor_degraded", seconds=30)["message"]
    worker.wait_for(lambda: {site.task(one).state for one in ids} == {"pending"}, "all given back")
    assert {site.task(one).deaths for one in ids} == {0}
    repository.commit({"main.py": ECHO})
    worker.signal(signal.SIGHUP)
    assert {site.finished(one).state for one in ids} == {"completed"}


def test_a_degraded_worker_may_end_to_be_started_afresh(site: Site) -> None:
    site.queue("jobs", {"main.py": STARTS_ONCE.format(marker=str(site.directory / "started"))})
    ids = site.enqueue("jobs.default", *range(8))
    worker = site.start(worker={"concurrency": 4}, recovery={"max_restarts": 0, "on_degraded": "exit"})
    assert worker.process.wait(timeout=30) == 80
    assert {site.task(one).state for one in ids} == {"pending"}
