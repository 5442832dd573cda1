"""A worker as its user runs it: the real daemon, a real git repository, a real deploy, a real child process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.executors.guard import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost", "-c", "init.defaultBranch=main")
ONE_SHOT = "one_shot"
LONG_RUNNING = "long_running"


@dataclass(frozen=True)
class Place:
    """Where one worker lives: its configuration, its deployment, its log.

    Attributes:
        config: The configuration file.
        deployment: Folder of releases and environments.
        code: Repository of the task code.
        queues: Full names of the queues that it serves.
    """

    config: Path
    deployment: Path
    code: Path
    queues: tuple[str, ...]

    @property
    def log(self) -> Path:
        """What the daemon printed last time."""
        return self.config.with_suffix(".log")

    def child_command(self) -> list[str]:
        """The command that the worker starts its task code with. Needs a deploy to have been made."""
        python = next(self.deployment.glob("environments/*/bin/python"))
        return [str(python), str(self.code / "main.py")]

    def daemon_command(self, concurrency: int, *flags: str) -> list[str]:
        """The command that starts the worker."""
        run = ("run", f"--config={self.config}", f"--concurrency={concurrency}", *flags)
        return [sys.executable, "-m", "runqy_worker", *run]


def prepare(
    directory: Path, addr: str, name: str, *, mode: str = LONG_RUNNING, parent: str = "", subs: Sequence[str] = ()
) -> Place:
    """Write repository, queues file and configuration of a worker.

    Args:
        directory: Where the place's own folder is made.
        addr: Redis, host:port.
        name: Of the place, and of its parent queue unless `parent` is given.
        mode: Of the task code.
        parent: The parent queue.
        subs: Names of its sub-queues; one, `default`, when none is given.
    """
    home = directory / name
    repository = home / "code"
    repository.mkdir(parents=True)
    shutil.copy(HERE / ("echo_once.py" if mode == ONE_SHOT else "echo.py"), repository / "main.py")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "task code")):
        subprocess.run([*GIT, *command], cwd=repository, check=True)
    deployment = {
        "git_url": str(repository),
        "branch": "main",
        "startup_cmd": "python main.py",
        "mode": mode,
        "startup_timeout_secs": 60,
        "redis_storage": True,
    }
    parent, subs = parent or name, tuple(subs) or ("default",)
    sub_queues = [{"name": sub, "priority": 1} for sub in subs]
    queues_file = home / "queues.json"  # JSON is YAML too
    queues_file.write_text(json.dumps({"queues": {parent: {"sub_queues": sub_queues, "deployment": deployment}}}))
    config = {
        "worker": {"queue": parent},
        "redis": {"addr": addr},
        "deployment": {"dir": str(home / "deployment")},
        "local": {"queues_file": str(queues_file)},
        "log": {"format": "json"},
    }
    path = home / "config.yml"
    path.write_text(json.dumps(config))
    return Place(path, home / "deployment", repository, tuple(f"{parent}.{sub}" for sub in subs))


def environment() -> dict[str, str]:
    """Ours, without what would configure the worker."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")}


def start(place: Place, concurrency: int, *flags: str) -> subprocess.Popen[bytes]:
    """Start a worker, from the main thread; does not wait until it is ready. It ends with this process."""
    with place.log.open("wb") as output:
        return subprocess.Popen(
            place.daemon_command(concurrency, *flags),
            stderr=output,
            env=environment(),
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - calls prctl and nothing else
        )


@contextlib.contextmanager
def worker(place: Place, concurrency: int, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running worker, ready; stopped with SIGTERM at the end."""
    process = start(place, concurrency, *flags)
    try:
        wait_ready(process, place)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


@contextlib.contextmanager
def workers(places: Sequence[Place], concurrency: int, *, at_once: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Many running workers, all ready; at most `at_once` of them are starting at a time."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        starting: list[tuple[subprocess.Popen[bytes], Place]] = []
        for place in places:
            process = start(place, concurrency)
            processes.append(process)
            starting.append((process, place))
            if len(starting) >= at_once:
                wait_ready(*starting.pop(0))
        for process, place in starting:
            wait_ready(process, place)
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=120)


def is_ready(place: Place) -> bool:
    """Whether the log says so."""
    return b'"action":"ready"' in place.log.read_bytes()


def wait_ready(process: subprocess.Popen[bytes], place: Place, *, limit: float = 120.0) -> None:
    """Until the worker said that it is ready.

    Raises:
        RuntimeError: It ended, or took longer than `limit` seconds; carries its log.
    """
    deadline = time.monotonic() + limit
    while not is_ready(place):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the worker did not become ready:\n{place.log.read_text()}")
        time.sleep(0.02)
