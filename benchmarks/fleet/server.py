"""The Redis that the fleet works on: many connections allowed, can be stopped and started again."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from runqy_worker.development.embedded_redis import EmbeddedRedis

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


class FleetRedis(EmbeddedRedis):
    """Keeps nothing on disk, except from `put_down` to `start`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, maxclients=MAX_CLIENTS)

    def client(self) -> redis.Redis:
        """A connection for measuring, which tries nothing twice."""
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(host="127.0.0.1", port=self.port, client_name="bench", retry=retry)

    def put_down(self) -> None:
        """End it in an orderly way; the next `start` finds the data again."""
        with self.client() as client:
            client.shutdown(save=True)
        self.stop()

    def loaded_at(self) -> float:
        """The monotonic second, from about now on, at which it first answers a command about its data.

        Raises:
            TimeoutError: It still loads them after a minute.
        """
        deadline = time.monotonic() + _LONGEST
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    client.ping()
                return time.monotonic()
            except redis.RedisError:
                time.sleep(_POLL)
        raise TimeoutError(f"redis-server at {self.addr} did not load its data within {_LONGEST:g} s")
