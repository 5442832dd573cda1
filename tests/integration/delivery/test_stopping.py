from __future__ import annotations

import signal
import socket
import time
from typing import TYPE_CHECKING

import psutil
from support.field import CODE, Field, children_of, is_gone
from support.redis_server import RedisServer

from runqy_worker.development.control_server import ControlServer, Fault

if TYPE_CHECKING:
    from pathlib import Path

    from support.worker_site import WorkerProcess

LIMIT = 20.0
"""Seconds in which a worker without running tasks has to end, whatever is broken."""


def stop(worker: WorkerProcess, *, limit: float = LIMIT, signalled: bool = False) -> None:
    """SIGTERM: it ends in time, says that all is well, and leaves no process behind."""
    left = children_of(worker)
    began = time.monotonic()
    if not signalled:
        worker.signal(signal.SIGTERM)
    assert worker.process.wait(timeout=60) == 0, worker.log_text()[-4000:]
    assert time.monotonic() - began < limit
    deadline = time.monotonic() + 3
    while [process for process in left if not is_gone(process)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def leftovers(field: Field) -> list[str]:
    """Half-made releases and environments, and the children that are written down."""
    deployment = field.directory / "deployment"
    names = [str(path.relative_to(deployment)) for path in deployment.rglob("*") if path.is_dir() or path.is_file()]
    return [name for name in names if "children-" in name.rsplit("/", 1)[-1]]


def test_while_the_control_server_is_away(field: Field) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    worker = field.quick(server={"url": f"http://127.0.0.1:{port}", "api_key": "k"}, local={"queues_file": ""})
    worker.wait_for_line("registration_failed")
    stop(worker, limit=3)


def test_while_the_control_server_does_not_answer(field: Field) -> None:
    field.write_config()
    with ControlServer(field.directory / "queues.yml", redis_addr=field.redis.addr) as control:
        control.faults.append(Fault(delay=120, status=500, times=None))
        server = {"url": control.url, "api_key": control.api_key, "timeout": "30s"}
        worker = field.quick(server=server, local={"queues_file": ""})
        field.wait_until(lambda: control.received, "the call")
        stop(worker, limit=5)


def test_while_it_waits_for_another_attempt(field: Field) -> None:
    field.queue("broken", {"main.py": "raise SystemExit('no model')"})
    worker = field.quick(worker={"queue": "broken"}, bootstrap={"retry_delay": "1m"})
    worker.wait_for_line("bootstrap_failed")
    stop(worker, limit=3)


def test_while_the_task_code_starts(field: Field) -> None:
    field.queue("slow", {"main.py": "import time; print('loading', flush=True); time.sleep(60)"})
    worker = field.quick(worker={"queue": "slow"})
    worker.wait_for(lambda: "loading" in worker.log_text(), "the process starting")
    assert children_of(worker)
    stop(worker, limit=5)
    assert leftovers(field) == []


def test_while_dependencies_are_installed_and_the_next_start_sweeps(field: Field) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # a package index that accepts and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/simple"
        code = CODE.format(runs=str(field.runs_file))
        repository = field.queue("heavy", {"main.py": code, "requirements.txt": "a-package-from-there==1\n"})
        worker = field.quick(worker={"queue": "heavy"}, deployment={"index_url": url})
        worker.wait_for_line("environment_building")
        field.wait_until(lambda: any("pip" in word for child in children_of(worker) for word in child.cmdline()), "pip")
        stop(worker, limit=10)
    repository.commit({"requirements.txt": ""})
    worker = field.quick(worker={"queue": "heavy"})
    worker.wait_for_line("ready")
    half_made = [
        path
        for path in (field.directory / "deployment").rglob("*")
        if path.suffix == ".new" and "cache" not in path.parts
    ]
    assert half_made == []
    stop(worker)


def test_while_redis_is_away_or_hangs(fragile: Field, own_redis: RedisServer, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "other") as other:
        with_other = Field(tmp_path / "with-other", other)
        fields = (fragile, with_other)
        workers = []
        for field in fields:
            field.put([{"sleep": 0.3}] * 3)
            workers.append(field.quick(worker={"concurrency": 1}))
        for field in fields:
            field.wait_until(field.runs, "a task running")
        own_redis.pause()
        other.stop()
        time.sleep(0.5)  # they have outcomes by now
        for worker in workers:
            worker.signal(signal.SIGTERM)
        for worker in workers:
            stop(worker, signalled=True)
        own_redis.resume()
        with_other.close()


def test_while_redis_was_never_there(field: Field) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    worker = field.quick(redis={"addr": f"127.0.0.1:{port}"})
    worker.wait_for_line("ready")
    stop(worker)


def test_twice_in_a_row_gives_back_what_runs_at_once(field: Field) -> None:
    (task_id,) = field.put([{"sleep": 60}])
    worker = field.quick(worker={"shutdown_timeout": "1m"})
    field.wait_until(field.runs, "the task running")
    worker.signal(signal.SIGTERM)
    worker.wait_for_line("drain_started")
    stop(worker, limit=5)
    (info,) = field.infos([task_id])
    assert (info.state, info.retried, info.reruns) == ("pending", 0, 0)


def test_at_random_moments_under_load_loses_nothing(field: Field) -> None:
    ids = field.put([{"sleep": 0.003}] * 1_500)
    for turn in range(6):
        worker = field.quick(seed=turn)
        field.wait_until(lambda turn=turn: len(field.runs()) > 100 * (turn + 1), "tasks running")  # type: ignore[misc]
        stop(worker, limit=12)
        contents = field.contents()
        assert (contents.active, contents.lease) == ([], [])
        assert leftovers(field) == []
    worker = field.quick(seed=9)
    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids)
    assert psutil.pid_exists(worker.process.pid)
