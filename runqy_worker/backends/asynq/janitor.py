"""Deletes completed tasks after their retention, and archived ones when they are old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.asking import Asking
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.events import Notice

if TYPE_CHECKING:
    import random

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.stewardship import Stewardship
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_BATCH = 100
_MOST_ROUNDS = 100
_LONGEST = 0.5
"""Seconds of purging after which the other chores get their turn, however slow the network is."""
_DEFAULT_TTL_ARCHIVED = 90 * 86400


class Janitor:
    """The chore.

    Args:
        every: Seconds between rounds.
        ttl_archived: Seconds that archived tasks are kept which say nothing themselves; None means 90 days, 0 for ever.
    """

    def __init__(
        self,
        stewardship: Stewardship,
        link: Link,
        *,
        every: float,
        ttl_archived: float | None,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._stewardship = stewardship
        self._asking = Asking("purging", link, listener=listener, clock=clock)
        self._listener = listener
        self._clock = clock
        self._every = every
        self._ttl_archived = _DEFAULT_TTL_ARCHIVED if ttl_archived is None else ttl_archived
        self._rng = rng
        self._script = load("purge")
        self._windows: dict[QueueKeys, int] = {}

    async def run(self) -> float:
        """Delete all that is over of the completed ones, and look at one window of the archived ones.

        Returns seconds until the next round; 0 when there is more than one round deletes.
        """
        left = await self._stewardship.held()
        ends = self._clock.monotonic() + _LONGEST
        for _ in range(_MOST_ROUNDS):
            again = []
            replies = await self._asking.ask({keys: self._command(keys) for keys in left})
            for keys, (_completed, archived, window, looked, *dropped) in replies.items():
                self._windows[keys] = window
                if dropped:
                    self._tell(keys, [task_id.decode(errors="replace") for task_id in dropped])
                if _BATCH in {looked, archived}:
                    again.append(keys)
            left = again
            if not left or self._clock.monotonic() >= ends:
                break
        return 0.0 if left else self._every * self._rng.uniform(0.8, 1.2)

    def _command(self, keys: QueueKeys) -> tuple[str | bytes | float, ...]:
        window = self._windows.get(keys, 0)
        arguments = (keys.task_prefix, keys.queue, _BATCH, self._ttl_archived, window)
        names = (keys.completed, keys.archived, keys.retry, keys.scheduled, keys.pending, keys.active)
        return self._script.command(names, arguments)

    def _tell(self, keys: QueueKeys, ids: list[str]) -> None:
        text = f"{len(ids)} ids in completed or archived of {keys.queue} had no task behind them and were removed."
        fields = {"queue": keys.queue, "count": len(ids), "ids": ids[:5]}
        self._listener.notice(Notice("purge_dropped", text, fields=fields))
