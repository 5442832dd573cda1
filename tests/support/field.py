"""What delivery and chaos tests share: task code that counts its executions, and a view of all that Redis holds."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import redis
import yaml

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.new_task import NewTask
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.backends.asynq.task_info import FIELDS, TaskInfo, read_task
from support.worker_site import Site, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.redis_server import RedisServer

QUEUE = "jobs.default"
RETENTION = 2 * 3600
"""Seconds that completed tasks are kept: longer than any scenario takes, because they are counted in the end."""
QUICK_WORKER = Path(__file__).with_name("quick_worker.py")
RUNS = "runs.txt"

CODE = """\
import json, os, signal, sys, time
runs = os.open({runs!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
print(json.dumps({{"status": "ready"}}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    what = task["payload"] or {{}}
    os.write(runs, ("%s %d %d\\n" % (task["task_id"], os.getpid(), os.getppid())).encode())
    time.sleep(what.get("sleep", 0))
    while "until" in what and not os.path.exists(what["until"]):
        time.sleep(0.01)
    if what.get("die") == "exit":
        os._exit(7)
    if what.get("die") == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what.get("die") == "daemon":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    answer = {{"task_id": task["task_id"], "result": what.get("say")}}
    if what.get("fail_once") and not task["retry_count"]:
        answer = {{"task_id": task["task_id"], "error": "it fails once", "retry": True}}
    print(json.dumps(answer), flush=True)
"""
"""Serial task code: writes the task's id, its own pid and its worker's to a file, then does what the payload says."""


@dataclass(frozen=True)
class Contents:
    """What Redis holds of one queue: the ids in each place, and the tasks' hashes."""

    pending: list[str]
    active: list[str]
    lease: list[str]
    retry: list[str]
    scheduled: list[str]
    archived: list[str]
    completed: list[str]
    hashes: set[str]

    def everywhere(self) -> Counter[str]:
        """How many places each task is in."""
        places = (self.pending, self.active, self.retry, self.scheduled, self.archived, self.completed)
        return Counter(task_id for place in places for task_id in place)

    def waiting(self) -> int:
        """Tasks that are not at their end."""
        return len(self.pending) + len(self.active) + len(self.retry) + len(self.scheduled)


class Field(Site):
    """A site whose task code counts what it runs, with leases that are short."""

    def __init__(self, directory: Path, server: RedisServer) -> None:
        super().__init__(directory, server)
        self.settings["deployment"]["installer"] = "uv"
        self.settings["worker"]["concurrency"] = 8
        self.settings["lease"] = {"duration": "2s", "renew_every": "400ms", "recover_every": "300ms"}
        self.settings["recovery"] = {"initial_delay": "50ms", "max_delay": "200ms"}
        self.settings["process"] = {"stop_grace": "500ms"}
        self.settings["log"]["level"] = "info"
        directory.mkdir(exist_ok=True)
        self.runs_file = directory / RUNS
        self.runs_file.touch()
        self.password: str | None = None
        self.queue("jobs", {"main.py": CODE.format(runs=str(self.runs_file))})
        self.client = redis.Redis(port=server.port, decode_responses=True)

    def close(self) -> None:
        super().close()
        self.client.close()

    def quick(self, *, retry_delay: float = 0.05, seed: int = 0, **sections: dict[str, Any]) -> WorkerProcess:
        """A worker with a short retry delay."""
        config = self.write_config(**sections)
        command = [str(QUICK_WORKER), "--config", str(config), "--retry-delay", str(retry_delay), "--seed", str(seed)]
        worker = ScriptProcess(command, config.with_suffix(".log"))
        self._workers.append(worker)
        return worker

    def write_config(self, **sections: dict[str, Any]) -> Path:
        """The settings with changes, as a file of its own."""
        settings = {name: dict(values) for name, values in self.settings.items()}
        for name, values in sections.items():
            settings.setdefault(name, {}).update(values)
        config = self.directory / f"config-{len(self._workers)}.yml"
        config.write_text(yaml.safe_dump(settings))
        (self.directory / "queues.yml").write_text(yaml.safe_dump({"queues": self.queues}))
        return config

    def put(self, payloads: Sequence[object], *, prefix: str = "t", **options: Any) -> list[str]:
        """Enqueue tasks by hundreds; their ids tell their order."""
        options.setdefault("retention", RETENTION)
        tasks = [
            NewTask(QUEUE, json.dumps(payload).encode(), id=f"{prefix}{number:05d}", **options)
            for number, payload in enumerate(payloads)
        ]

        async def send() -> None:
            options = RedisOptions(addr=self.redis.addr, password=self.password or "")
            async with AsynqClient(options) as client:
                await client.enqueue_many(tasks)

        asyncio.run(send())
        return [task.id for task in tasks]

    def runs(self) -> Counter[str]:
        """How often each task was begun."""
        return Counter(line.split()[0] for line in self.runs_file.read_text().splitlines())

    def run_pids(self) -> list[int]:
        """The processes that ran tasks, in order of time."""
        return [int(line.split()[1]) for line in self.runs_file.read_text().splitlines()]

    def contents(self) -> Contents:
        """What Redis holds now."""
        names = ("pending", "active", "lease", "retry", "scheduled", "archived", "completed")
        with self.client.pipeline(transaction=True) as pipe:
            for name in names:
                key = f"asynq:{{{QUEUE}}}:{name}"
                if name in {"pending", "active"}:
                    pipe.lrange(key, 0, -1)
                else:
                    pipe.zrange(key, 0, -1)
            places = dict(zip(names, pipe.execute(), strict=True))
        prefix = f"asynq:{{{QUEUE}}}:t:"
        return Contents(
            **places, hashes={key[len(prefix) :] for key in self.client.scan_iter(f"{prefix}*", count=1000)}
        )

    def infos(self, ids: Sequence[str]) -> list[TaskInfo]:
        """Many tasks as they stand, in one round trip."""
        with (
            redis.Redis(port=self.redis.port, password=self.password) as client,
            client.pipeline(transaction=False) as pipe,
        ):
            for task_id in ids:
                pipe.hmget(f"asynq:{{{QUEUE}}}:t:{task_id}", FIELDS)
            return [
                read_task(task_id, QUEUE, values, None) for task_id, values in zip(ids, pipe.execute(), strict=True)
            ]

    def settled_count(self) -> int:
        """Tasks that are completed or archived."""
        key = f"asynq:{{{QUEUE}}}"
        return self.client.zcard(f"{key}:completed") + self.client.zcard(f"{key}:archived")

    def wait_until(self, condition: Callable[[], object], what: str, *, seconds: float = 60) -> None:
        """Until `condition()` holds; fails with the logs when that takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come about; {self.summary()}\n{self.logs()}"
            time.sleep(0.05)

    def wait_settled(self, count: int, *, seconds: float = 60) -> None:
        """Until so many tasks are completed or archived."""
        self.wait_until(lambda: self.settled_count() >= count, f"{count} tasks settled", seconds=seconds)

    def summary(self) -> str:
        """Where the tasks are, in a line."""
        contents = self.contents()
        return ", ".join(
            f"{name}: {len(getattr(contents, name))}"
            for name in ("pending", "active", "lease", "retry", "scheduled", "archived", "completed")
        )

    def assert_all_completed_once(self, ids: Sequence[str], *, at_most: int = 1) -> None:
        """Every task is in the completed set and nowhere else, uncharged, and ran `at_most` times."""
        contents = self.contents()
        assert contents.waiting() == 0, self.summary()
        assert contents.lease == []
        places = contents.everywhere()
        completed = set(contents.completed)
        assert [task_id for task_id in ids if task_id not in completed or places[task_id] != 1] == []
        runs = self.runs()
        assert {task_id: runs[task_id] for task_id in ids if not 1 <= runs[task_id] <= at_most} == {}
        charged = [info for info in self.infos(ids) if info.retried or info.deaths]
        assert charged == []


class ScriptProcess(WorkerProcess):
    """A worker that a script of ours runs."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environ,
            )


def children_of(worker: WorkerProcess) -> list[psutil.Process]:
    """Its processes of task code."""
    try:
        return psutil.Process(worker.process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended."""
    try:
        return not process.is_running() or process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return True
