"""What a real worker tells Prometheus, against what it did."""

from __future__ import annotations

import signal
import subprocess
import threading
from typing import TYPE_CHECKING

from support.redis_server import RedisServer
from support.tools import needed
from support.worker_site import ECHO, Site

from runqy_worker.telemetry.metric_catalog import METRICS, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.http_probe import Answer, Metrics
    from support.worker_site import WorkerProcess

    Asks = Callable[..., Answer]

FATES = """\
import json, os, sys
print("loading", file=sys.stderr, flush=True)
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    fate = task["payload"]
    if fate == "die":
        os._exit(3)
    answer = {"task_id": task["task_id"], "result": 1}
    if fate in ("retry", "archive"):
        answer = {"task_id": task["task_id"], "result": None, "error": "no", "retry": fate == "retry"}
    print(json.dumps(answer), flush=True)
"""
TASKS = "runqy_worker_tasks_total"


def until(asks: Asks, worker: WorkerProcess, name: str, value: float, **labels: str) -> Metrics:
    """The metrics once one of them has this value."""
    found: list[Metrics] = []

    def has() -> bool:
        found.append(asks(worker, "/metrics").metrics())
        return found[-1].samples.get((name, frozenset(labels.items()))) == value

    worker.wait_for(has, f"{name} {labels} being {value}")
    return found[-1]


def test_counts_are_right_while_and_after_tasks_run(site: Site, asks: Asks) -> None:
    site.queue("jobs", {"main.py": ECHO}, sub_queues={"high": 9, "low": 1})
    worker = site.start(worker={"concurrency": 4})
    until(asks, worker, "runqy_worker_ready", 1)
    scrapes: list[Metrics] = []
    done = threading.Event()

    def scrape() -> None:
        while not done.is_set():
            scrapes.append(asks(worker, "/metrics").metrics())

    scraping = threading.Thread(target=scrape)
    scraping.start()
    try:
        high, low = site.enqueue("jobs.high", *range(300)), site.enqueue("jobs.low", *range(100))
        for task in (*high, *low):
            assert site.finished(task).state == "completed"
    finally:
        done.set()
        scraping.join()
    metrics = until(asks, worker, TASKS, 300, queue="jobs.high", outcome="completed")
    metrics = until(asks, worker, TASKS, 100, queue="jobs.low", outcome="completed")
    seen = [each.value(TASKS, queue="jobs.high", outcome="completed") for each in scrapes]
    assert seen == sorted(seen)
    for name in ("task_duration_seconds", "task_wait_seconds"):
        assert metrics.value(f"runqy_worker_{name}_count", queue="jobs.high") >= 300
    started = metrics.value("runqy_worker_tasks_started_total", queue="jobs.low")
    released = metrics.value(TASKS, queue="jobs.low", outcome="released")
    assert 100 <= started <= 100 + released
    assert metrics.value("runqy_worker_slots", parent="jobs") == 4
    assert metrics.value("runqy_worker_tasks_running", parent="jobs") == 0
    assert metrics.value("runqy_worker_child_resident_memory_bytes", parent="jobs") > 1_000_000
    assert metrics.value("runqy_worker_redis_round_trip_seconds_count", parent="jobs", connection="settle") > 0


def test_every_metric_of_the_page_is_told_and_promtool_approves(site: Site, asks: Asks) -> None:
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    worker.wait_for_line("ready")
    (task,) = site.enqueue("jobs.default", 1)
    site.finished(task)
    metrics = until(asks, worker, TASKS, 1, queue="jobs.default", outcome="completed")
    here = {metric.name for metric in METRICS} - {metric.name for metric in SECTIONS["GPUs"]}
    assert metrics.names() == here
    promtool = needed("promtool", "apt-get install --no-install-recommends prometheus")
    text = asks(worker, "/metrics").text
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_failures_and_deaths_are_told_apart(site: Site, asks: Asks) -> None:
    site.queue("jobs", {"main.py": FATES})
    worker = site.start()
    worker.wait_for_line("ready")
    site.enqueue("jobs.default", "ok", "retry", "archive", "archive")
    until(asks, worker, TASKS, 1, queue="jobs.default", outcome="completed")
    until(asks, worker, TASKS, 1, queue="jobs.default", outcome="retried")
    until(asks, worker, TASKS, 2, queue="jobs.default", outcome="archived")
    site.enqueue("jobs.default", "die")
    metrics = until(asks, worker, "runqy_worker_task_deaths_total", 1, queue="jobs.default")
    assert metrics.value(TASKS, queue="jobs.default", outcome="retried") == 2
    assert metrics.value("runqy_worker_child_crashes_total", parent="jobs") == 1
    metrics = until(asks, worker, "runqy_worker_executor_state", 1, parent="jobs", state="ready")
    assert metrics.value("runqy_worker_child_processes", parent="jobs") == 1
    assert metrics.value("runqy_worker_output_lines_total", stream="stderr") == 2


def test_an_outage_shows(tmp_path: Path, asks: Asks) -> None:
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        site = Site(tmp_path, server)
        try:
            site.queue("jobs", {"main.py": ECHO})
            worker = site.start()
            until(asks, worker, "runqy_worker_backend_up", 1, parent="jobs")
            server.stop()
            metrics = until(asks, worker, "runqy_worker_backend_up", 0, parent="jobs")
            assert metrics.value("runqy_worker_ready") == 0
            assert metrics.value("runqy_worker_stalled") == 0
            assert metrics.value("runqy_worker_backend_outages_total", reason="unreachable") >= 1
            until(asks, worker, "runqy_worker_heartbeat_outages_total", 1)
            errors = {"parent": "jobs", "kind": "connection"}
            assert metrics.value("runqy_worker_redis_errors_total", connection="wait", **errors) >= 1
            server.start()
            metrics = until(asks, worker, "runqy_worker_backend_up", 1, parent="jobs")
            assert metrics.value("runqy_worker_redis_connects_total", parent="jobs", connection="claim") >= 1
        finally:
            site.close()


def test_deploys_and_the_release_that_serves(site: Site, asks: Asks) -> None:
    repository = site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    deploys = "runqy_worker_deploys_total"
    metrics = until(asks, worker, deploys, 1, trigger="start", outcome="succeeded")
    assert metrics.value("runqy_worker_last_deploy_successful") == 1
    commit = repository.commit({"main.py": ECHO + "# newer\n"})
    worker.signal(signal.SIGHUP)
    metrics = until(asks, worker, deploys, 1, trigger="reload", outcome="succeeded")
    (release,) = [dict(labels) for name, labels in metrics.samples if name == "runqy_worker_release_info"]
    assert release["parent"] == "jobs"
    assert commit.startswith(release["release"].partition("-")[0])
    repository.commit({"main.py": "raise SystemExit(1)\n"})
    worker.signal(signal.SIGHUP)
    metrics = until(asks, worker, deploys, 1, trigger="reload", outcome="failed")
    assert metrics.value("runqy_worker_last_deploy_successful") == 0
    assert metrics.value("runqy_worker_parent_ready", parent="jobs") == 1
