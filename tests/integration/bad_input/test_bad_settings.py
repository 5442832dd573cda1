"""Configurations and places that can't be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis
from integration.bad_input.mending import assert_waits, write_queues
from support.redis_server import RedisServer
from support.worker_site import ECHO, Site

if TYPE_CHECKING:
    from pathlib import Path

STATE = "asynq:{jobs.default}:t:"


def test_unknown_keys_are_all_named_and_nothing_starts(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start(worker={"concurency": 2}, redis={"host": "localhost"}, recovery={"max_restarts": "many"})
    assert worker.process.wait(timeout=30) == 78
    text = worker.log_text()
    assert "worker.concurency" in text
    assert "did you mean worker.concurrency" in text
    assert "redis.host" in text
    assert "recovery.max_restarts" in text
    assert_waits(site, task)


def test_a_broken_queues_file_is_named_with_its_lines(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO}, startup_cmd="", mode="sometimes")
    (task,) = site.enqueue("jobs.default", 1)
    text = site.start().wait_for_line("bootstrap_failed")["message"]
    assert "queues.yml:8: queues.jobs.deployment.startup_cmd: is empty, expected text" in text
    assert "deployment.mode: 'sometimes' is unknown, expected one of long_running, one_shot" in text
    assert_waits(site, task)
    site.queues["jobs"]["deployment"] |= {"startup_cmd": "python main.py", "mode": "long_running"}
    write_queues(site)
    assert site.finished(task).state == "completed"


def test_a_deployment_directory_that_cannot_be_made_is_named(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    blocked = site.directory / "blocked"
    blocked.write_text("a file where a directory should be")
    (task,) = site.enqueue("jobs.default", 1)
    worker = site.start(deployment={"dir": str(blocked / "deployment")})
    assert str(blocked) in worker.wait_for_line("bootstrap_failed")["message"]
    assert_waits(site, task)
    blocked.unlink()
    assert site.finished(task).state == "completed"


def test_a_wrong_redis_password_is_told_and_the_right_one_ends_it(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as server:
        site = Site(tmp_path, server)
        site.settings["deployment"]["installer"] = "uv"
        site.queue("jobs", {"main.py": ECHO})
        try:
            (task,) = site.enqueue("jobs.default", 1)
            with redis.Redis(port=server.port) as client:
                client.config_set("requirepass", "another")
                worker = site.start(redis={"password": "hunter2-hunter2"})
                line = worker.wait_for_line("backend_refused")
                assert "WRONGPASS" in line["message"]
                assert client.hget(STATE + task, "state") == b"pending"
                client.config_set("requirepass", "hunter2-hunter2")
                worker.wait_for(lambda: client.hget(STATE + task, "state") == b"completed", "the task being done")
            assert "hunter2" not in worker.log_text()
        finally:
            site.close()


def test_a_redis_that_is_away_is_waited_for(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes")
    site = Site(tmp_path, server)
    site.settings["deployment"]["installer"] = "uv"
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start()
    try:
        assert server.addr in worker.wait_for_line("backend_unavailable")["message"]
        server.start()
        (task,) = site.enqueue("jobs.default", 1)
        assert site.finished(task).state == "completed"
        worker.wait_for_line("backend_back")
    finally:
        site.close()
        server.stop()


def test_a_redis_that_is_away_ends_a_worker_that_may_give_up(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    site = Site(tmp_path, server)
    site.settings["deployment"]["installer"] = "uv"
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start(bootstrap={"give_up": True})
    assert worker.process.wait(timeout=60) == 69
    assert f"redis at {server.addr} is not reachable" in worker.log_text()
    site.close()


def test_a_queues_file_that_is_missing_ends_a_worker_that_may_give_up(site: Site) -> None:
    worker = site.start(local={"queues_file": str(site.directory / "nowhere.yml")}, bootstrap={"give_up": True})
    assert worker.process.wait(timeout=30) == 78
    assert "nowhere.yml: can't be read: No such file or directory" in worker.log_text()


def test_a_queue_that_nobody_defined_is_answered_with_the_known_ones(site: Site) -> None:
    site.queue("jobs", {"main.py": ECHO})
    worker = site.start(worker={"queue": "jbos"}, bootstrap={"give_up": True})
    assert worker.process.wait(timeout=30) == 78
    assert "queue 'jbos' is not defined, expected one of: jobs, jobs.default" in worker.log_text()
