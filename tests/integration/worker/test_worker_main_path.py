from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import redis
from support.worker_site import ECHO

if TYPE_CHECKING:
    from support.worker_site import Site

ONCE = """\
import json, os, sys
print(json.dumps({"status": "ready"}), flush=True)
task = json.loads(sys.stdin.readline())
print(json.dumps({"task_id": task["task_id"], "result": {"pid": os.getpid()}}), flush=True)
"""
FAILING = """\
import json, sys
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    print("working on", task["task_id"], flush=True)
    answer = {"task_id": task["task_id"], "result": None, "error": "no luck", "retry": task["payload"]["retry"]}
    print(json.dumps(answer), flush=True)
"""
SLOW = """\
import json, sys, time
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    time.sleep(task["payload"])
    print(json.dumps({"task_id": task["task_id"], "result": "slept"}), flush=True)
"""


def test_tasks_of_every_sub_queue_get_done_and_their_results_are_kept(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO}, sub_queues={"high": 9, "low": 1})
    worker = site.start()
    worker.wait_for_line("ready")
    (high,) = site.enqueue("jobs.high", {"text": "grüße\n", "n": [1, 2.50]})
    (low,) = site.enqueue("jobs.low", "plain")
    assert json.loads(site.finished(high).result or b"") == {"text": "grüße\n", "n": [1, 2.5]}
    assert json.loads(site.finished(low).result or b"") == "plain"
    assert worker.stop() == 0


def test_one_shot_tasks_run_in_a_process_each(site: Site) -> None:
    site.queue("jobs", {"main.py": ONCE}, mode="one_shot")
    site.start(worker={"concurrency": 2}).wait_for_line("ready")
    ids = site.enqueue("jobs.default", *range(6))
    pids = {json.loads(site.finished(task_id).result or b"")["pid"] for task_id in ids}
    assert len(pids) == 6


def test_failures_are_retried_or_archived_as_the_task_code_says(site: Site) -> None:
    site.queue("jobs", {"main.py": FAILING})
    worker = site.start()
    worker.wait_for_line("ready")
    (permanent,) = site.enqueue("jobs.default", {"retry": False})
    info = site.finished(permanent)
    assert (info.state, info.error) == ("archived", "permanent failure: no luck")
    (again,) = site.enqueue("jobs.default", {"retry": True})
    worker.wait_for(lambda: site.task(again).state == "retry", "the retry")
    info = site.task(again)
    assert (info.error, info.retried) == ("no luck (will retry)", 1)
    assert any(line.get("task_id") == again for line in worker.lines() if "working on" in line["message"])


def test_two_parents_have_their_own_code_and_process(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    site.queue("naps", {"main.py": SLOW})
    worker = site.start(worker={"queue": "", "queues": ["jobs", "naps"]})
    worker.wait_for(lambda: len(worker.lines("ready")) == 2, "both parents being ready")
    (echo,) = site.enqueue("jobs.default", 1)
    (nap,) = site.enqueue("naps.default", 0.01)
    assert site.finished(echo).result == b"1"
    assert site.finished(nap).result == b'"slept"'


def test_a_parent_that_cannot_start_does_not_stop_the_other(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    site.queue("broken", {"main.py": "raise SystemExit('no model')"})
    worker = site.start(worker={"queue": "", "queues": ["broken", "jobs"]})
    (task,) = site.enqueue("jobs.default", 1)
    assert site.finished(task).state == "completed"
    assert "no model" in worker.wait_for_line("bootstrap_failed")["message"]


def test_the_worker_is_listed_while_it_lives_and_gone_afterwards(site: Site) -> None:
    site.queue("jobs", {"main.py": SLOW}, sub_queues={"default": 4})
    worker = site.start(worker={"concurrency": 2})
    worker.wait_for_line("ready")
    site.enqueue("jobs.default", 30)
    with redis.Redis(port=site.redis.port, decode_responses=True) as client:
        (key,) = [name for name in client.scan_iter("asynq:workers:*") if not name.endswith(":logs")]
        worker.wait_for(lambda: client.hget(key, "status") == "running", "the status running", seconds=15)
        fields = client.hgetall(key)
        assert fields["queues"] == "map[jobs.default:4]"
        assert fields["healthy"] == "true"
        assert fields["concurrency"] == "2"
        assert json.loads(fields["recovery"])["jobs"]["state"] == "ready"
        assert client.zcard("asynq:servers") == 1
        worker.signal(signal.SIGTERM)
        worker.signal(signal.SIGTERM)
        assert worker.process.wait(timeout=20) == 0
        assert client.zcard("asynq:servers") == 0
        assert client.hget(key, "status") in {None, "stopped"}


def test_burst_ends_when_the_queues_are_empty(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    ids = site.enqueue("jobs.default", *range(300))
    worker = site.start("--burst", worker={"concurrency": 8})
    assert worker.process.wait(timeout=60) == 0
    assert {site.task(task_id).state for task_id in ids[::50]} == {"completed"}


def test_a_running_task_may_end_before_the_worker_does(site: Site) -> None:
    site.queue("jobs", {"main.py": SLOW})
    worker = site.start()
    worker.wait_for_line("ready")
    running, waiting = site.enqueue("jobs.default", 1, 0)
    worker.wait_for(lambda: site.task(running).state == "active", "the task running")
    assert worker.stop() == 0
    assert site.task(running).state == "completed"
    assert site.task(waiting).state == "pending"


def test_an_interrupted_task_goes_back_to_the_front_uncharged(site: Site) -> None:
    site.queue("jobs", {"main.py": SLOW})
    worker = site.start(worker={"shutdown_timeout": "100ms"})
    worker.wait_for_line("ready")
    (task,) = site.enqueue("jobs.default", 600)
    worker.wait_for(lambda: site.task(task).state == "active", "the task running")
    assert worker.stop() == 0
    info = site.task(task)
    assert (info.state, info.retried, info.reruns) == ("pending", 0, 0)


def test_quiet_and_resume_by_signal(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    worker.wait_for_line("ready")
    worker.signal(signal.SIGTSTP)
    worker.wait_for_line("quiet")
    (task,) = site.enqueue("jobs.default", 1)
    worker.wait_for(lambda: site.task(task).state == "pending", "the task staying")
    worker.signal(signal.SIGCONT)
    assert site.finished(task).state == "completed"


def test_sighup_deploys_the_newest_commit_and_keeps_the_old_one_when_that_fails(site: Site) -> None:
    repository = site.queue("jobs", {"main.py": ECHO.replace('task["payload"]', "1")})
    worker = site.start()
    worker.wait_for_line("ready")
    assert site.finished(site.enqueue("jobs.default", 0)[0]).result == b"1"
    repository.commit({"main.py": ECHO.replace('task["payload"]', "2")})
    worker.signal(signal.SIGHUP)
    worker.wait_for_line("reload_finished")
    assert site.finished(site.enqueue("jobs.default", 0)[0]).result == b"2"
    repository.commit({"main.py": "raise SystemExit(3)"})
    worker.signal(signal.SIGHUP)
    worker.wait_for_line("reload_failed")
    assert site.finished(site.enqueue("jobs.default", 0)[0]).result == b"2"
