"""What a real worker answers to those who probe it."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import TYPE_CHECKING

from support.http_probe import ask
from support.redis_server import RedisServer
from support.worker_site import ECHO, Site, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.http_probe import Answer

    Asks = Callable[..., Answer]

from integration.health.conftest import GATED


def until(asks: Asks, worker: WorkerProcess, path: str, status: int, text: str) -> None:
    """Until the worker answers so."""

    def answers() -> bool:
        told = asks(worker, path)
        return (told.status, told.text) == (status, text)

    worker.wait_for(answers, f"{path} being {status} {text!r}")


def test_probes_through_the_life_of_a_worker(site: Site, asks: Asks, tmp_path: Path) -> None:
    site.queue("jobs", {"main.py": GATED.replace("@gate", str(tmp_path / "gate"))})
    worker = site.start()
    assert (asks(worker, "/livez").status, asks(worker, "/livez").text) == (200, "alive\n")
    assert (asks(worker, "/readyz").status, asks(worker, "/readyz").text) == (503, "not ready\njobs: starting\n")
    assert (asks(worker, "/startupz").status, asks(worker, "/startupz").text) == (503, "not started\njobs: starting\n")
    (tmp_path / "gate").touch()
    until(asks, worker, "/readyz", 200, "ready\njobs: running\n")
    assert asks(worker, "/startupz").text == "started\n"
    worker.signal(signal.SIGTSTP)
    until(asks, worker, "/readyz", 503, "not ready\njobs: quiet\n")
    worker.signal(signal.SIGCONT)
    until(asks, worker, "/readyz", 200, "ready\njobs: running\n")
    (task,) = site.enqueue("jobs.default", str(tmp_path / "end"))
    worker.wait_for(lambda: site.task(task).state == "active", "the task running")
    worker.signal(signal.SIGTERM)
    until(asks, worker, "/readyz", 503, "not ready\njobs: draining\n")
    assert asks(worker, "/livez").status == 200
    assert asks(worker, "/startupz").status == 200
    (tmp_path / "end").touch()
    assert worker.process.wait(timeout=30) == 0
    assert list(tmp_path.glob("deployment/.runqy/health.sock")) == []


def test_a_worker_without_redis_is_not_ready_but_lives(tmp_path: Path, asks: Asks) -> None:
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        site = Site(tmp_path, server)
        try:
            site.queue("jobs", {"main.py": ECHO})
            worker = site.start()
            until(asks, worker, "/readyz", 200, "ready\njobs: running\n")
            server.stop()
            until(asks, worker, "/readyz", 503, "not ready\njobs: the backend does not answer\n")
            assert asks(worker, "/livez").status == 200
            assert asks(worker, "/startupz").status == 200
            server.start()
            until(asks, worker, "/readyz", 200, "ready\njobs: running\n")
        finally:
            site.close()


def test_a_degraded_worker_is_not_ready_but_lives(site: Site, asks: Asks) -> None:
    once = ECHO + "sys.exit(1)\n"
    repository = site.queue("jobs", {"main.py": once.replace("for line", "import os\nfor line")})
    repository.commit(
        {"main.py": "import json, sys\nprint(json.dumps({'status': 'ready'}), flush=True)\nsys.exit(1)\n"}
    )
    worker = site.start(recovery={"max_restarts": 1, "initial_delay": "10ms"})
    until(asks, worker, "/readyz", 503, "not ready\njobs: degraded\n")
    assert asks(worker, "/livez").status == 200


def test_a_token_guards_metrics_and_reasons(site: Site, asks: Asks, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame\n")
    (tmp_path / "token").chmod(0o600)
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start(health={"token_file": str(tmp_path / "token")})
    until(asks, worker, "/readyz", 200, "ready\n")
    assert asks(worker, "/metrics").status == 401
    assert asks(worker, "/metrics", Authorization="Bearer wrong").status == 401
    assert asks(worker, "/readyz", Authorization="Bearer wrong").status == 401
    assert asks(worker, "/readyz", Authorization="Bearer sesame").text == "ready\njobs: running\n"
    assert asks(worker, "/metrics", Authorization="Bearer sesame").metrics().value("runqy_worker_ready") == 1
    assert "sesame" not in worker.log_text()


def test_it_listens_where_it_is_told_to(site: Site, asks: Asks, tmp_path: Path) -> None:
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start(health={"address": "127.0.0.1:0"})
    assert asks(worker, "/livez").text == "alive\n"
    assert worker.lines("health_listening")[0]["fields"]["address"].startswith("127.0.0.1:")
    assert worker.stop() == 0
    (tmp_path / "run").mkdir()
    worker = site.start(env={"RUNTIME_DIRECTORY": f"{tmp_path / 'run'}:{tmp_path / 'other'}"})
    assert asks(worker, "/livez").text == "alive\n"
    assert worker.lines("health_listening")[0]["fields"]["address"] == f"unix:{tmp_path / 'run/health.sock'}"
    assert worker.stop() == 0
    worker = site.start(health={"address": "off"})
    worker.wait_for_line("ready")
    assert worker.lines("health_listening") == []
    assert worker.stop() == 0


def test_an_address_that_is_taken_ends_the_worker_which_may_be_started_again(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        worker = site.start(health={"address": address})
        assert worker.process.wait(timeout=30) == 75
    assert f"health.address: can't listen at {address}" in worker.log_text()


def test_several_workers_of_one_directory_all_work_and_the_first_is_asked(site: Site, asks: Asks) -> None:
    site.queue("jobs", {"main.py": ECHO})
    first = site.start()
    first.wait_for_line("ready")
    second = site.start()
    second.wait_for_line("ready")
    taken = f"health.address: another process ({first.process.pid}) listens at"
    assert taken in second.wait_for_line("health_unavailable")["message"]
    assert second.stop() == 0
    assert asks(first, "/readyz").status == 200


def test_the_socket_of_a_killed_worker_is_taken_over(site: Site, asks: Asks) -> None:
    site.queue("jobs", {"main.py": ECHO})
    killed = site.start()
    address = killed.wait_for_line("health_listening")["fields"]["address"]
    killed.process.kill()
    killed.process.wait()
    worker = site.start()
    assert asks(worker, "/livez").text == "alive\n"
    assert ask(address, "/livez").text == "alive\n"


def test_tasks_go_on_beside_callers_who_say_nothing(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start(health={"address": "127.0.0.1:0"})
    host, port = worker.wait_for_line("health_listening")["fields"]["address"].split(":")
    worker.wait_for_line("ready")
    silent = [socket.create_connection((host, int(port))) for _ in range(100)]
    try:
        for task in site.enqueue("jobs.default", *range(50)):
            assert site.finished(task).state == "completed"
    finally:
        for connection in silent:
            connection.close()
    worker.wait_for(lambda: ask(f"{host}:{port}", "/livez").status == 200, "room for callers again")


def test_curl_gets_an_answer_at_the_socket(site: Site, asks: Asks, tmp_path: Path) -> None:
    """By a way that even a long path leaves open."""
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    asks(worker, "/livez")
    command = ["curl", "-sS", "--unix-socket", "health.sock", "http://localhost/livez"]
    done = subprocess.run(command, cwd=tmp_path / "deployment/.runqy", capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"
