"""What workers in a machine need: a Redis, repositories of task code, queues, instances; and a client beside them."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import yaml
from host.instance import Instance

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.options import RedisOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from host.machine import Machine

    from runqy_worker.backends.asynq.task_info import TaskInfo

REDIS = "127.0.0.1:6379"
_SOCKET = "/run/site/redis.sock"
_GIT = "git -c user.name=Test -c user.email=test@localhost -c init.defaultBranch=main"

ECHO = """\
import json, sys
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    print(json.dumps({"task_id": task["task_id"], "result": task["payload"]}), flush=True)
"""


class HostSite:
    """Everything around the workers of one machine.

    Attributes:
        machine: Where it is.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._numbers = itertools.count(1)
        self._instances: list[Instance] = []
        machine.sh(
            "useradd --system --create-home --home-dir /srv/git --shell /bin/sh git\n"
            "mkdir -p /run/site && chmod 755 /srv/git /run/site"
        )
        self.start_redis()

    def start_redis(self) -> None:
        """Start Redis, and wait until it answers."""
        self.machine.run(
            *("systemd-run", "--quiet", "--unit=site-redis", "--collect", "--"),
            *("redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", "", "--appendonly", "no"),
            *("--unixsocket", _SOCKET, "--unixsocketperm", "777"),
        )
        ping = ("redis-cli", "ping")
        self.machine.until(lambda: self.machine.run(*ping, check=False).stdout == "PONG\n", "Redis")

    def stop_redis(self) -> None:
        """End it; everything in it is gone."""
        self.machine.systemctl("stop", "site-redis")

    def repository(self, name: str, files: Mapping[str, str], *, owner: str = "git") -> str:
        """Make or change the repository /srv/git/NAME; returns the commit."""
        path = f"/srv/git/{name}"
        for file, text in files.items():
            self.machine.write(f"{path}/{file}", text)
        return self.machine.sh(
            f"test -d {path}/.git || {_GIT} init --quiet {path}\n"
            f"{_GIT} -C {path} -c safe.directory='*' add --all\n"
            f"{_GIT} -C {path} -c safe.directory='*' commit --quiet --allow-empty -m change\n"
            f"chown -R {owner}: {path}; chmod -R u=rwX,go=rX {path}\n"
            f"{_GIT} -C {path} -c safe.directory='*' rev-parse HEAD"
        )

    def instance(
        self,
        files: Mapping[str, str] | None = None,
        *,
        git_url: str = "",
        drop_ins: Mapping[str, str] | None = None,
        **sections: Mapping[str, Any],
    ) -> Instance:
        """An instance that is not started, with a queue and a repository of its own name.

        Args:
            files: Of its repository; task code that answers with its payload by default.
            git_url: Where its code comes from, with `{name}` for its name; the repository as a file:// URL by default.
            drop_ins: File name -> text, for this instance.
            sections: Changes of its configuration.
        """
        name = f"site{next(self._numbers)}"
        self.repository(name, files or {"main.py": ECHO})
        self.machine.write(f"/etc/runqy-worker/queues/{name}.yml", _queues(name, git_url))
        settings: dict[str, dict[str, Any]] = {
            "worker": {"queue": name, "shutdown_timeout": "30s"},
            "redis": {"addr": REDIS},
            "local": {"queues_file": f"/etc/runqy-worker/queues/{name}.yml"},
            "bootstrap": {"retry_delay": "200ms"},
        }
        for section, values in sections.items():
            settings.setdefault(section, {}).update(values)
        instance = Instance(self, name)
        instance.configure(settings)
        for file, text in (drop_ins or {}).items():
            instance.drop_in(file, text)
        self._instances.append(instance)
        return instance

    def clean(self) -> None:
        """Stop the instances of a test, and take their files away."""
        units = [instance.unit for instance in self._instances]
        if units:
            self.machine.systemctl("kill", "--signal=KILL", *units, check=False)
            self.machine.systemctl("stop", *units, check=False)
            self.machine.systemctl("reset-failed", *units, check=False)
        for instance in self._instances:
            instance.remove()
        if units:
            self.machine.systemctl("daemon-reload")
        self._instances.clear()

    def enqueue(self, queue: str, *payloads: object, **options: Any) -> list[str]:
        """Enqueue tasks as a client would; returns their ids."""

        async def send() -> list[str]:
            async with self._client() as client:
                options.setdefault("retention", 600)
                return [await client.enqueue(queue, json.dumps(payload).encode(), **options) for payload in payloads]

        return asyncio.run(send())

    def task(self, task_id: str, queue: str) -> TaskInfo:
        """The task as it stands now."""

        async def look() -> TaskInfo:
            async with self._client() as client:
                return await client.get_task(task_id, queue)

        return asyncio.run(look())

    def finished(self, task_id: str, queue: str, *, seconds: float = 60) -> TaskInfo:
        """The task once it is completed or archived; a failure shows the end of the journal."""

        async def wait() -> TaskInfo:
            async with self._client() as client:
                return await client.wait_result(task_id, queue, timeout=seconds)

        info = asyncio.run(wait())
        assert info.finished, f"still {info.state} after {seconds} s\n{self.machine.journal_text()}"
        return info

    def _client(self) -> AsynqClient:
        return AsynqClient(RedisOptions(addr=f"{self.machine.root}{_SOCKET}"))


def _queues(name: str, git_url: str) -> str:
    about = {
        "git_url": (git_url or "file:///srv/git/{name}").format(name=name),
        "branch": "main",
        "startup_cmd": "python main.py",
        "mode": "long_running",
        "startup_timeout_secs": 60,
        "redis_storage": True,
    }
    queue = {"sub_queues": [{"name": "default", "priority": 1}], "deployment": about}
    return yaml.safe_dump({"queues": {name: queue}})
