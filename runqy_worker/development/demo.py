"""`make demo`: the main job from end to end on this machine, as its user would do it.

Starts an embedded Redis, a control server and a worker on a sample git repository; enqueues tasks with the command
line, shows their results, and stops.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from runqy_worker.development.control_server import ControlServer
from runqy_worker.development.embedded_redis import EmbeddedRedis
from runqy_worker.development.snapshot import SourceSnapshot
from runqy_worker.domain.errors import RunqyError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUEUES = ("hello", "hello-once", "language")
TASKS = (
    ("hello.high", ('{"name": "Ada"}', '{"name": "Grace"}'), "a long-running process answers both"),
    ("hello-once", ('{"name": "Ada"}', '{"name": "Grace"}'), "one-shot: a fresh process for each"),
    ("language", ('{"text": "the cat sat on the mat"}',), "a model that was loaded before the first task"),
)
READY_TIMEOUT = 90.0
STOP_TIMEOUT = 30.0


class DemoError(RunqyError):
    """A step of the demo did not do what it shows."""


class WorkerProcess:
    """`runqy-worker run` with its log shown as it comes."""

    def __init__(self, config: Path) -> None:
        self._ready = threading.Semaphore(0)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "runqy_worker", "run", "--config", str(config), "--log-format", "console"],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._show, name="worker log")
        self._reader.start()

    def wait_ready(self, parents: int) -> None:
        """Until that many parent queues are ready."""
        for _ in range(parents):
            if not self._ready.acquire(timeout=READY_TIMEOUT):
                raise DemoError("the worker did not become ready; its log above says why")

    def stop(self) -> None:
        """SIGTERM, and wait for the drain."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise DemoError("the worker did not stop in time") from None
        finally:
            self._reader.join()
        if code != 0:
            raise DemoError(f"the worker ended with exit code {code}")

    def _show(self) -> None:
        if self._process.stderr is None:
            return
        for line in self._process.stderr:
            print(f"    {line}", end="", flush=True)
            if "ready to run tasks" in line:
                self._ready.release()


def main() -> int:
    """Run the demo; the exit code says whether everything worked."""
    with tempfile.TemporaryDirectory(prefix="runqy-demo-") as name:
        try:
            demonstrate(Path(name))
        except RunqyError as error:
            print(f"demo: {error}", file=sys.stderr)
            return 1
    return 0


def demonstrate(directory: Path) -> None:
    """Everything, in order."""
    say("A sample git repository: the examples of this project")
    source = directory / "examples"
    shutil.copytree(EXAMPLES, source)
    snapshot = SourceSnapshot(source, directory / "repository")
    snapshot.take()
    queues_file = directory / "queues.yml"
    queues_file.write_text(yaml.safe_dump({"queues": definitions(snapshot.url)}))
    say("An embedded Redis and a control server")
    with (
        EmbeddedRedis(directory / "redis") as redis,
        ControlServer(queues_file, redis_addr=redis.addr) as server,
    ):
        config = directory / "config.yml"
        config.write_text(
            yaml.safe_dump(
                {
                    "server": {"url": server.url, "api_key": server.api_key},
                    "worker": {"queues": list(QUEUES)},
                    "deployment": {"dir": str(directory / "deployment")},
                }
            )
        )
        config.chmod(0o600)  # it holds the key
        say("A worker: it registers, clones, makes environments, starts processes")
        worker = WorkerProcess(config)
        try:
            worker.wait_ready(len(QUEUES))
            for queue, payloads, remark in TASKS:
                say(f"Tasks for {queue}: {remark}")
                for payload in payloads:
                    enqueue(redis.addr, queue, payload)
            run_cli(["queue", "ls", "--redis", redis.addr])
        finally:
            say("Stopping: SIGTERM drains")
            worker.stop()
    say("Done. Your own code: .venv/bin/runqy-worker dev PATH_OR_GIT_URL")


def definitions(url: str) -> dict[str, object]:
    """The examples' queue definitions, on the repository at `url`."""
    defined = yaml.safe_load((EXAMPLES / "queues.yml").read_text())["queues"]
    chosen = {name: defined[name] for name in QUEUES}
    for queue in chosen.values():
        deployment = queue["deployment"]
        deployment["git_url"] = url
        deployment["code_path"] = str(deployment["code_path"]).removeprefix("examples/")
    return chosen


def enqueue(addr: str, queue: str, payload: str) -> None:
    """Enqueue one task and show its result."""
    run_cli(["enqueue", queue, "--redis", addr, "--payload", payload, "--wait", "--wait-timeout", "30s"])


def run_cli(arguments: Sequence[str]) -> None:
    """Run `runqy-worker` as a user would, shown with what it prints."""
    print(f"  $ runqy-worker {' '.join(_quoted(argument) for argument in arguments)}", flush=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")}
    command = [sys.executable, "-m", "runqy_worker", *arguments]
    done = subprocess.run(command, env=environ, text=True, capture_output=True, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        print(f"  {line}", flush=True)
    if done.returncode != 0:
        raise DemoError(f"`runqy-worker {arguments[0]}` ended with exit code {done.returncode}")


def say(text: str) -> None:
    """A headline."""
    print(f"\n== {text}", flush=True)


def _quoted(argument: str) -> str:
    return f"'{argument}'" if " " in argument else argument


if __name__ == "__main__":
    sys.exit(main())
