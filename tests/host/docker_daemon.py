"""A Docker daemon of our own, which leaves the host's network and images alone, and nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runqy_worker.executors.guard import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping

TOOLS = ("dockerd", "docker")
LONGEST_START = 60.0
LONGEST_STOP = 60.0


def missing_tools() -> list[str]:
    """What keeps this host from running containers, one sentence each."""
    found = [f"{tool} is missing: apt-get install docker.io" for tool in TOOLS if shutil.which(tool) is None]
    return found or ([] if compose_program() else ["docker-compose is missing: apt-get install docker-compose"])


def compose_program() -> list[str]:
    """What to call: Docker's plugin, else the older program; empty where there is neither."""
    plugin = ["docker", "compose"]
    if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
        return plugin
    older = shutil.which("docker-compose")
    return [older] if older else []


class DockerDaemon:
    """Starts on entry; on exit its containers are ended and all its files removed.

    Containers reach the network through the host's (`--network host`), or only each other; no packet filter is set up.
    """

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="runqy-docker-"))  # short: sockets below it have long names
        self._socket = f"unix://{self._home}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        flags = {
            "data-root": self._home / "data",
            "exec-root": self._home / "exec",
            "pidfile": self._home / "pid",
            "host": self._socket,
            "bridge": "none",
            "iptables": "false",
            "ip-forward": "false",
        }
        with (self._home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["dockerd", *(f"--{name}={value}" for name, value in flags.items())],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - calls prctl and nothing else
                start_new_session=True,
            )
        deadline = time.monotonic() + LONGEST_START
        while self.try_run("version").returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._home / "log").read_text(errors="replace")
                self.__exit__()
                raise RuntimeError(f"dockerd does not start; it said:\n{said[-4000:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_exc: object) -> None:
        process, self._process = self._process, None
        assert process is not None
        if process.poll() is None:
            containers = self.try_run("ps", "--quiet", "--all").stdout.split()
            if containers:
                self.try_run("rm", "--force", "--volumes", *containers)
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LONGEST_STOP)
            process.kill()
            process.wait()
        for mount in reversed(_mounts_below(self._home)):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self._home)

    @property
    def environ(self) -> dict[str, str]:
        """Variables that lead docker and docker-compose here. The old builder needs no plugin."""
        return {**os.environ, "DOCKER_HOST": self._socket, "DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0"}

    def try_run(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run docker."""
        return subprocess.run(
            ["docker", *args], env=self.environ, capture_output=True, text=True, timeout=timeout, check=False
        )

    def run(self, *args: str, timeout: float = 60) -> str:
        """Run docker, which must succeed; returns what it printed."""
        done = self.try_run(*args, timeout=timeout)
        assert done.returncode == 0, f"docker {' '.join(args)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
        return done.stdout.strip()

    def build(self, context: Path, *tags: str, file: Path, arguments: Mapping[str, str] | None = None) -> None:
        """Build an image with the host's network."""
        given = (word for name, value in (arguments or {}).items() for word in ("--build-arg", f"{name}={value}"))
        named = (word for tag in tags for word in ("--tag", tag))
        self.run("build", "--network=host", "--quiet", "--file", str(file), *named, *given, str(context), timeout=400)

    def load(self, root: Path, tag: str, *leave_out: str) -> None:
        """Make an image of a root file system."""
        excluded = (f"--exclude=./{path}" for path in ("dev", "proc", "sys", *leave_out))
        with subprocess.Popen(["tar", "-C", str(root), *excluded, "-c", "."], stdout=subprocess.PIPE) as packing:
            subprocess.run(
                ["docker", "import", "-", tag], stdin=packing.stdout, env=self.environ, check=True, capture_output=True
            )


def _mounts_below(directory: Path) -> list[str]:
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{directory}/")]
