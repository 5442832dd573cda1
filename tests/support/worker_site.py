"""A whole installation in a temporary directory: task code in git, a queues file, real worker processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import yaml

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.options import RedisOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runqy_worker.backends.asynq.task_info import TaskInfo
    from support.redis_server import RedisServer

GIT = ("git", "-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main")

ECHO = """\
import json, sys
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps({"task_id": task["task_id"], "result": task["payload"]}), flush=True)
"""


class Repository:
    """A git repository of task code."""

    def __init__(self, path: Path, files: dict[str, str]) -> None:
        self.path = path
        path.mkdir(parents=True)
        subprocess.run([*GIT, "init", "-q", str(path)], check=True)
        self.commit(files)

    def commit(self, files: dict[str, str]) -> str:
        """Write files and commit them; returns the commit."""
        for name, text in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        subprocess.run([*GIT, "-C", str(self.path), "add", "-A"], check=True)
        subprocess.run([*GIT, "-C", str(self.path), "commit", "-qm", "change", "--allow-empty"], check=True)
        head = subprocess.run([*GIT, "-C", str(self.path), "rev-parse", "HEAD"], check=True, capture_output=True)
        return head.stdout.decode().strip()


class Site:
    """Where workers run. Every worker that a test starts is ended with the site."""

    def __init__(self, directory: Path, redis: RedisServer) -> None:
        self.directory = directory
        self.redis = redis
        self.queues: dict[str, Any] = {}
        self.settings: dict[str, Any] = {
            "worker": {"queue": "jobs", "shutdown_timeout": "10s"},
            "redis": {"addr": redis.addr},
            "deployment": {"dir": str(directory / "deployment"), "installer": "venv"},
            "local": {"queues_file": str(directory / "queues.yml")},
            "bootstrap": {"retry_delay": "200ms"},
            "log": {"format": "json", "level": "debug"},
        }
        self._workers: list[WorkerProcess] = []

    def queue(
        self,
        name: str,
        files: dict[str, str],
        *,
        mode: str = "long_running",
        sub_queues: dict[str, int] | None = None,
        **deployment: Any,
    ) -> Repository:
        """Define a parent queue whose task code is `files`; `main.py` is started."""
        repository = Repository(self.directory / f"code-{name}", files)
        self.queues[name] = {
            "sub_queues": [{"name": sub, "priority": n} for sub, n in (sub_queues or {"default": 1}).items()],
            "deployment": {
                "git_url": str(repository.path),
                "branch": "main",
                "startup_cmd": "python main.py",
                "mode": mode,
                "startup_timeout_secs": 30,
                "redis_storage": True,
                **deployment,
            },
        }
        return repository

    def start(self, *flags: str, env: dict[str, str] | None = None, **sections: dict[str, Any]) -> WorkerProcess:
        """Start a worker process; `sections` change the configuration."""
        settings = {name: dict(values) for name, values in self.settings.items()}
        for name, values in sections.items():
            settings.setdefault(name, {}).update(values)
        number = len(self._workers)
        config = self.directory / f"config-{number}.yml"
        config.write_text(yaml.safe_dump(settings))
        (self.directory / "queues.yml").write_text(yaml.safe_dump({"queues": self.queues}))
        worker = WorkerProcess(config, self.directory / f"worker-{number}.log", flags, env or {})
        self._workers.append(worker)
        return worker

    def enqueue(self, queue: str, *payloads: object, **options: Any) -> list[str]:
        """Enqueue tasks as a client would; returns their ids."""

        async def send() -> list[str]:
            async with AsynqClient(RedisOptions(addr=self.redis.addr)) as client:
                options.setdefault("retention", 600)
                return [await client.enqueue(queue, json.dumps(payload).encode(), **options) for payload in payloads]

        return asyncio.run(send())

    def task(self, task_id: str, queue: str | None = None) -> TaskInfo:
        """The task as it stands now."""

        async def look() -> TaskInfo:
            async with AsynqClient(RedisOptions(addr=self.redis.addr)) as client:
                return await client.get_task(task_id, queue)

        return asyncio.run(look())

    def finished(self, task_id: str, queue: str | None = None, *, seconds: float = 30) -> TaskInfo:
        """The task once it is completed or archived."""

        async def wait() -> TaskInfo:
            async with AsynqClient(RedisOptions(addr=self.redis.addr)) as client:
                return await client.wait_result(task_id, queue, timeout=seconds)

        info = asyncio.run(wait())
        assert info.finished, f"still {info.state} after {seconds} s\n{self.logs()}"
        return info

    def logs(self) -> str:
        """What the workers said, for a failed assertion."""
        return "\n".join(worker.log_text()[-4000:] for worker in self._workers)

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.end()


def runqy_worker(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of the program."""
    command = [sys.executable, "-m", "runqy_worker", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, **options)


class WorkerProcess:
    """One `runqy-worker run`."""

    def __init__(self, config: Path, log: Path, flags: tuple[str, ...], env: dict[str, str]) -> None:
        self.log = log
        self.config = config
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runqy_worker", "run", "--config", str(config), *flags],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environ | env,
            )

    def log_text(self) -> str:
        """Everything it logged."""
        return self.log.read_text(errors="replace")

    def lines(self, action: str | None = None) -> list[dict[str, Any]]:
        """Its log lines as objects, those of one `action` only if given."""
        objects = [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]
        return [item for item in objects if action is None or item.get("action") == action]

    def wait_for(self, condition: Callable[[], object], what: str = "the condition", *, seconds: float = 60) -> None:
        """Until `condition()` holds; fails with the log when the worker ends before, or it takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            alive = self.process.poll() is None
            assert alive, f"the worker ended before {what}\n{self.log_text()[-4000:]}"
            assert time.monotonic() < deadline, f"{what} did not come about\n{self.log_text()[-4000:]}"
            time.sleep(0.02)

    def wait_for_line(self, action: str, *, seconds: float = 60) -> dict[str, Any]:
        """The first log line of this action."""
        self.wait_for(lambda: self.lines(action), f"a log line {action}", seconds=seconds)
        return self.lines(action)[0]

    def command(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `runqy-worker WORDS --config ...` against it."""
        return runqy_worker(*words, "--config", str(self.config), **options)

    def status(self) -> dict[str, Any]:
        """What it says of itself over its control socket."""
        done = self.command("status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def signal(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    def stop(self, *, seconds: float = 30) -> int:
        """SIGTERM, and wait; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def end(self) -> None:
        """Whatever it takes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
