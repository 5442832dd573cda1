"""Workers in containers, and what they need around them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import yaml
from support.worker_site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from host.docker_daemon import DockerDaemon
    from support.redis_server import RedisServer

PATIENCE = 120.0


class Container:
    """One running container."""

    def __init__(self, docker: DockerDaemon, name: str) -> None:
        self.name = name
        self._docker = docker

    def run(self, *command: str) -> str:
        """Run a command in it; returns what it printed."""
        return self._docker.run("exec", self.name, *command)

    def exists(self, path: str) -> bool:
        """Whether it has this file."""
        return self._docker.try_run("exec", self.name, "test", "-e", path).returncode == 0

    def log(self) -> str:
        """What it printed, on both outputs."""
        done = self._docker.try_run("logs", self.name)
        return done.stdout + done.stderr

    def actions(self) -> list[str]:
        """What its worker logged, by name."""
        lines = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [line["action"] for line in lines if "action" in line]

    def state(self) -> dict[str, Any]:
        """As Docker has it."""
        found: dict[str, Any] = json.loads(self._docker.run("inspect", "--format", "{{json .State}}", self.name))
        return found

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Until `condition()` holds; fails with the log when the container ends before, or it takes too long."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.state()["Running"], f"ended before {what}\n{self.log()[-4000:]}"
            assert time.monotonic() < deadline, f"{what} did not come about\n{self.log()[-4000:]}"
            time.sleep(0.1)


class ContainerSite:
    """A Redis and task code for one container, which runs on the host's network.

    Attributes:
        site: Enqueues tasks and looks at them.
    """

    def __init__(self, docker: DockerDaemon, directory: Path, redis: RedisServer) -> None:
        self._docker = docker
        self._directory = directory
        directory.mkdir(parents=True)
        self.site = Site(directory, redis)

    def start(self, image: str, name: str, files: Mapping[str, str]) -> Container:
        """Start a worker on a queue `jobs` that runs `files`, as somebody would who has no server."""
        self.site.queue("jobs", dict(files))
        definition = self.site.queues["jobs"]
        definition["deployment"]["git_url"] = "/srv/code-jobs"
        (self._directory / "queues.yml").write_text(yaml.safe_dump({"queues": {"jobs": definition}}))
        config = {
            "worker": {"queue": "jobs", "shutdown_timeout": "100s"},
            "redis": {"addr": self.site.redis.addr},
            "local": {"queues_file": "/srv/queues.yml"},
            "log": {"format": "json"},
        }
        (self._directory / "config.yml").write_text(yaml.safe_dump(config))
        mounts = (f"{self._directory}:/srv:ro", f"{self._directory}/config.yml:/app/config.yml:ro")
        volumes = (word for mount in mounts for word in ("--volume", mount))
        self._docker.run("run", "--detach", "--network=host", "--name", name, *volumes, image)
        container = Container(self._docker, name)
        container.until(lambda: "ready" in container.actions(), "the queue is ready")
        return container

    def result(self, task_id: str) -> Any:
        """What a task answered."""
        info = self.site.finished(task_id, "jobs.default", seconds=60)
        assert (info.state, info.result is not None) == ("completed", True), info
        return json.loads(info.result or b"")
