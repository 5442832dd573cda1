"""A steady stream of tasks, from a thread of its own, that goes on through outages of Redis."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import redis

from benchmarks.fleet.tasks import enqueue, stamp

if TYPE_CHECKING:
    from benchmarks.fleet.server import FleetRedis

_TICK = 0.01
_AFTER_ERROR = 0.05


class Feed:
    """Enqueues `rate` tasks per second inside a `with`, each carrying the time when it may run.

    Args:
        delay: Seconds that each task is scheduled ahead; 0 makes it pending at once.

    Attributes:
        sent: Tasks enqueued so far.
    """

    def __init__(self, server: FleetRedis, rate: float, *, delay: float = 0) -> None:
        self._server = server
        self._rate = rate
        self._delay = delay
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        with self._server.client() as client:
            due, last = 0.0, time.monotonic()
            while not self._ending.wait(_TICK):
                now = time.monotonic()
                due += self._rate * (now - last)
                last = now
                if due < 1:
                    continue
                try:
                    self._enqueue(client, int(due))
                except redis.RedisError:
                    due = 0.0  # what nobody could enqueue is not made up for
                    time.sleep(_AFTER_ERROR)
                    continue
                self.sent += int(due)
                due -= int(due)

    def _enqueue(self, client: redis.Redis, count: int) -> None:
        enqueue(client, count, stamp(self._delay), due=time.time() + self._delay if self._delay else 0)


def quantiles(values: list[float], scale: float = 1.0) -> dict[str, float]:
    """`p50`, `p99` and `most`, times `scale`."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": round(ordered[last // 2] * scale, 3),
        "p99": round(ordered[round(last * 0.99)] * scale, 3),
        "most": round(ordered[-1] * scale, 3),
    }
