"""Workers that reach Redis through proxies, and what goes through those, told by the scripts' digests."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.tcp_proxy import LOSE, TcpProxy

from runqy_worker.backends.asynq.scripts import load

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Mapping

    from chaos.arena import Arena
    from support.worker_site import WorkerProcess

CLAIM, SETTLE, RENEW = (load(name).sha.encode() for name in ("claim", "settle", "renew"))
WAIT = b"BLMOVE"
_RELEASES = b"\r\n$1\r\nL\r\n"
KINDS = ("claim", "settlement", "release", "renewal", "wait")
"""What a request may be. A wait may carry the claim of what it brings; a settlement that gives back is a release."""
QUICK = {"timeout": "500ms", "connect_timeout": "500ms"}
"""Patience with Redis, so short that a scenario need not wait for it."""


def kind_of(asked: bytes) -> str:
    """Which of `KINDS` a request is; empty for anything else."""
    if WAIT in asked:
        return "wait"
    if CLAIM in asked:
        return "claim"
    if SETTLE in asked:
        return "release" if _RELEASES in asked else "settlement"
    return "renewal" if RENEW in asked else ""


class Mischief:
    """Does things to answers; a proxy's `on_reply`.

    Args:
        kinds: The requests whose answers it touches.
        chance: How likely it is for each.
        seconds: By how much an answer is delayed; by default it is lost and the connection cut.

    Attributes:
        seen: Requests of each kind that were answered.
        done: Answers of each kind that were touched.
        off: Let everything pass.
    """

    def __init__(
        self, rng: random.Random, kinds: Collection[str], chance: float, *, seconds: tuple[float, float] | None = None
    ) -> None:
        self._rng = rng
        self._kinds = frozenset(kinds)
        self._chance = chance
        self._seconds = seconds
        self.seen: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.off = False

    def __call__(self, asked: bytes) -> float:
        kind = kind_of(asked)
        self.seen[kind] += 1
        if self.off or kind not in self._kinds or self._rng.random() >= self._chance:
            return 0.0
        self.done[kind] += 1
        return LOSE if self._seconds is None else self._rng.uniform(*self._seconds)


@dataclass(frozen=True)
class Wired:
    """A worker, and the only way from it to Redis."""

    worker: WorkerProcess
    proxy: TcpProxy


class Wires(ExitStack):
    """The proxies of a scenario."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self._arena = arena

    def proxy(self) -> TcpProxy:
        """A new way to Redis."""
        return self.enter_context(TcpProxy(self._arena.redis.port, seed=self._arena.rng.randrange(2**31)))

    def team(self, count: int, **redis: Any) -> list[Wired]:
        """So many workers, ready, each behind a proxy of its own; `redis` is that section of their settings."""
        proxies = [self.proxy() for _ in range(count)]
        team = [
            Wired(self._arena.quick(seed=self._arena.rng.randrange(2**31), redis={"addr": proxy.addr, **redis}), proxy)
            for proxy in proxies
        ]
        for wired in team:
            wired.worker.wait_for_line("ready")
        return team


def tell(arena: Arena, what: Mapping[str, int], wording: str) -> None:
    """Enter in the ledger how often something was done that excuses nothing."""
    for kind, count in what.items():
        arena.ledger.injuries[wording.format(kind)] += count


def assert_counted_once(arena: Arena) -> None:
    """asynq's counters say what the ledger says: each task was processed once and none failed."""
    counters = arena.client.mget("asynq:{jobs.default}:processed", "asynq:{jobs.default}:failed")
    processed, failed = (int(counter or 0) for counter in counters)
    assert (processed, failed) == (len(arena.ledger.endings), 0)


def finish(arena: Arena, workers: list[WorkerProcess], *, seconds: float = 1800) -> None:
    """Everything settled, accounted for and counted once; the workers stop in an orderly way."""
    arena.settle(seconds=seconds)
    arena.account()
    assert_counted_once(arena)
    assert [worker.stop() for worker in workers] == [0] * len(workers)
