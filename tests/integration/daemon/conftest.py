"""An installation whose workers become daemons."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.worker_site import ECHO, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.redis_server import RedisServer


def until(condition: Callable[[], object], what: str, *, seconds: float = 30) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether there is such a process, one that only waits to be fetched not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Daemons:
    """Starts them, and ends every one with the test."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.directory = site.directory
        self.pid_file = site.directory / "worker.pid"
        self.log_file = site.directory / "worker.log"
        self.config = site.directory / "config.yml"
        site.settings["deployment"]["installer"] = "uv"
        site.queue("jobs", {"main.py": ECHO})
        self.write()

    def write(self, **sections: dict[str, Any]) -> None:
        """Write the configuration and the queues."""
        settings = {name: dict(values) for name, values in self.site.settings.items()}
        for name, values in sections.items():
            settings.setdefault(name, {}).update(values)
        self.config.write_text(yaml.safe_dump(settings))
        (self.directory / "queues.yml").write_text(yaml.safe_dump({"queues": self.site.queues}))

    def begin(self, *flags: str) -> subprocess.Popen[str]:
        """`runqy-worker run --daemon`, which may take a while."""
        command = [sys.executable, "-m", "runqy_worker", "run", "--config", str(self.config), "--daemon"]
        command += ["--pid-file", str(self.pid_file), "--log-file", str(self.log_file), *flags]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RUNQY_")}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=self.directory
        )

    def start(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """The same, until it has ended."""
        with self.begin(*flags) as command:
            out, err = command.communicate(timeout=90)
        return subprocess.CompletedProcess(command.args, command.returncode, out, err)

    @property
    def pid(self) -> int:
        """Of the daemon."""
        return int(self.pid_file.read_text())

    def log(self) -> str:
        """What it logged."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def end(self) -> None:
        """Whatever it takes."""
        if self.pid_file.exists() and (text := self.pid_file.read_text().strip()):
            pid = int(text)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            until(lambda: not is_alive(pid), "the daemon's end")


@pytest.fixture
def daemons(tmp_path: Path, redis_server: RedisServer) -> Iterator[Daemons]:
    """One installation."""
    site = Site(tmp_path, redis_server)
    daemons = Daemons(site)
    yield daemons
    daemons.end()
    site.close()
