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
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
GIT = ("git", "-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost", "-c", "init.defaultBranch=main")


def prepare(directory: Path, addr: str, *, mode: str) -> Path:
    """Write repository, queues file and configuration; returns the configuration's path."""
    repository = directory / f"code-{mode}"
    repository.mkdir()
    shutil.copy(HERE / ("echo_once.py" if mode == "one_shot" else "echo.py"), repository / "main.py")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "task code")):
        subprocess.run([*GIT, *command], cwd=repository, check=True)
    deployment = {
        "git_url": str(repository),
        "branch": "main",
        "startup_cmd": "python main.py",
        "mode": mode,
        "startup_timeout_secs": 30,
        "redis_storage": True,
    }
    queues = {"queues": {"bench": {"sub_queues": [{"name": "default", "priority": 1}], "deployment": deployment}}}
    queues_file = directory / f"queues-{mode}.json"  # JSON is YAML too
    queues_file.write_text(json.dumps(queues))
    config = {
        "worker": {"queue": "bench"},
        "redis": {"addr": addr},
        "deployment": {"dir": str(directory / f"deployment-{mode}")},
        "local": {"queues_file": str(queues_file)},
        "log": {"format": "json"},
    }
    path = directory / f"config-{mode}.yml"
    path.write_text(json.dumps(config))
    return path


@contextlib.contextmanager
def worker(config: Path, concurrency: int, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running worker; stopped with SIGTERM at the end."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")}
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "runqy_worker", "run", f"--config={config}", f"--concurrency={concurrency}", *flags],
            stderr=output,
            env=environ,
        )
    try:
        wait_ready(process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def wait_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the worker said that it is ready."""
    deadline = time.monotonic() + 60
    while '"action":"ready"' not in log.read_text().replace('": "', '":"'):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the worker did not become ready:\n{log.read_text()}")
        time.sleep(0.02)
