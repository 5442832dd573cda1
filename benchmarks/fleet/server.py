"""The Redis that the fleet works on: its own process, many connections allowed, can be stopped and started again."""

from __future__ import annotations

import resource
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from runqy_worker.development.embedded_redis import EmbeddedRedis, find_redis_server
from runqy_worker.executors.guard import die_with_parent

if TYPE_CHECKING:
    from pathlib import Path

MAX_CLIENTS = 19_000
_LONGEST = 60.0
_POLL = 0.002


def raise_limits() -> int:
    """Let this process and its children open as many files as they may; returns how many that is."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class FleetRedis:
    """Starts on entry on a free port, stops on exit. Keeps nothing on disk, except over `stop(keep=True)`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def addr(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def client(self) -> redis.Redis:
        """A connection for measuring, which tries nothing twice."""
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(host="127.0.0.1", port=self.port, client_name="bench", retry=retry)

    def start(self) -> float:
        """Start it; returns the monotonic second at which it first answered a command."""
        options: dict[str, Any] = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._directory,
            "save": "",
            "appendonly": "no",
            "maxclients": MAX_CLIENTS,
        }
        settings = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(find_redis_server()), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - calls prctl and nothing else
            )
        return self._answers_since()

    def stop(self, *, keep: bool = False) -> None:
        """End it; with `keep` the next `start` finds the data again."""
        process, self._process = self._process, None
        if process is None:
            return
        if keep:
            with self.client() as client:
                client.shutdown(save=True)
        else:
            process.kill()
        process.wait(timeout=_LONGEST)

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        with EmbeddedRedis(self._directory / "port") as scout:  # its port is free once it is gone
            self.port = scout.port
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _answers_since(self) -> float:
        deadline = time.monotonic() + _LONGEST
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                with self.client() as client:
                    client.ping()
                return time.monotonic()
            except redis.RedisError:
                time.sleep(_POLL)
        raise RuntimeError(f"redis-server did not start; see {self._directory / 'redis.log'}")
