"""Finds tasks that are marked as running although nobody runs them, and leases of tasks that are not running."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.asking import Asking
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.stewardship import Stewardship
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_MOST = 10_000
_MOST_LAPSED = 100
"""Leases to look at, by searching active for each, while active is longer than that."""
_MEND_PER_CALL = 100
"""Redis does nothing else during a call, which searches active for each id."""
_LONGEST = 0.5
"""Seconds of mending after which the other chores get their turn; the next sweep goes on."""


def _parts(ids: list[bytes]) -> list[list[bytes]]:
    return [ids[at : at + _MEND_PER_CALL] for at in range(0, len(ids), _MEND_PER_CALL)]


@dataclass
class _Mended:
    """What became of ids, as the script says it."""

    returned: list[bytes] = field(default_factory=list)
    dropped: list[bytes] = field(default_factory=list)
    removed: int = 0
    restored: list[bytes] = field(default_factory=list)
    strayed: list[bytes] = field(default_factory=list)

    def add(self, returned: list[bytes], dropped: list[bytes], removed: int, *others: list[bytes]) -> None:
        restored, strayed = others
        self.returned += returned
        self.dropped += dropped
        self.removed += removed
        self.restored += restored
        self.strayed += strayed


class Sweeping:
    """The chore.

    A claim passes through "in active, without a lease" for an instant, so what a sweep saw is mended after the next
    one, at least `every` seconds later, if the script that mends still sees the same. A list that is too long for one
    look is swept window by window.
    """

    def __init__(
        self,
        stewardship: Stewardship,
        link: Link,
        *,
        every: float,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._stewardship = stewardship
        self._asking = Asking("sweeping", link, listener=listener, clock=clock)
        self._every = every
        self._listener = listener
        self._clock = clock
        self._rng = rng
        self._sweep = load("sweep")
        self._mend = load("mend")
        self._suspects: dict[QueueKeys, tuple[list[bytes], list[bytes]]] = {}
        self._windows: dict[QueueKeys, tuple[int, int]] = {}
        self._swept_at = float("-inf")

    async def run(self) -> float:
        """One sweep. Returns seconds until the next."""
        now = self._clock.monotonic()
        if now - self._swept_at < self._every:
            return self._swept_at + self._every - now
        queues = await self._stewardship.held()
        if queues:
            found = await self._asking.ask({keys: self._command(keys) for keys in queues})
            before, self._suspects = self._suspects, {}
            self._swept_at = now  # before anything is mended: should that fail, the next sweep is not any sooner
            ends = self._clock.monotonic() + _LONGEST
            for keys, (unleased, lease_only, *windows) in found.items():
                self._windows[keys] = (windows[0], windows[1])
                if unleased or lease_only:
                    self._suspects[keys] = (unleased, lease_only)
            for keys in found:
                if keys in before:
                    await self._repair(keys, *before[keys], ends)
        else:
            self._suspects = {}
            self._swept_at = now
        return self._every * self._rng.uniform(1.0, 1.3)

    async def _repair(self, keys: QueueKeys, unleased: list[bytes], lease_only: list[bytes], ends: float) -> None:
        """Mend them, some at a time, until it is `ends` by the clock; the newest first, so that the oldest is next."""
        parts = [(len(some), some) for some in _parts(unleased)] + [(0, some) for some in _parts(lease_only)]
        names = (keys.active, keys.lease, keys.pending, keys.scheduled, keys.retry, keys.archived, keys.completed)
        done = _Mended()
        parts_done = 0
        try:
            for count, some in parts:
                command = self._mend.command(names, (keys.task_prefix, count, *some))
                answer = (await self._asking.ask({keys: command})).get(keys)
                if answer is None:
                    break
                done.add(*answer)
                parts_done += 1
                if self._clock.monotonic() >= ends:
                    break
        finally:
            self._tell(keys, done)
            self._keep(keys, parts[parts_done:])

    def _keep(self, keys: QueueKeys, parts: list[tuple[int, list[bytes]]]) -> None:
        """What was not mended is to be mended after the next sweep, though that may look elsewhere."""
        unleased, lease_only = self._suspects.get(keys, ([], []))
        for count, some in parts:
            if count:
                unleased = list(dict.fromkeys((*unleased, *some)))
            else:
                lease_only = list(dict.fromkeys((*lease_only, *some)))
        if parts:
            self._suspects[keys] = (unleased, lease_only)

    def _command(self, keys: QueueKeys) -> tuple[Arg, ...]:
        begin, lease_begin = self._windows.get(keys, (0, 0))
        return self._sweep.command((keys.active, keys.lease), (_MOST, begin, _MOST_LAPSED, lease_begin))

    def _tell(self, keys: QueueKeys, done: _Mended) -> None:
        counts = {
            "were active without a lease and are pending again": len(done.returned),
            "had a lease without being active and are active again": len(done.restored),
            "were listed as active although they are elsewhere": len(done.strayed),
            "were listed as active without a task behind them": len(done.dropped),
            "had a lease and nothing else": done.removed,
        }
        found = "; ".join(f"{count} {what}" for what, count in counts.items() if count)
        if found:
            ids = (*done.returned, *done.restored, *done.strayed, *done.dropped)
            shown = [task_id.decode(errors="replace") for task_id in ids[:5]]
            self._listener.notice(
                Notice(
                    "sweep_repaired",
                    f"Mended ids of {keys.queue}: {found}.",
                    Level.WARNING,
                    fields={
                        "queue": keys.queue,
                        "returned": len(done.returned),
                        "restored": len(done.restored),
                        "strayed": len(done.strayed),
                        "dropped": len(done.dropped),
                        "leases": done.removed,
                        "ids": shown,
                    },
                )
            )
