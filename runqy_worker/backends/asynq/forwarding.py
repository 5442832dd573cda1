"""Moves scheduled and retried tasks to pending when their time has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.asking import Asking
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.stewardship import Stewardship
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_BATCH = 250
"""Tasks per set that one call moves: Redis does nothing else meanwhile, for less than a millisecond."""
_MOST_ROUNDS = 40
_LONGEST = 0.5
"""Seconds of forwarding after which the other chores get their turn, however slow the network is."""
_TELL_AGAIN_AFTER = 300.0
"""Seconds of peace after which damage is told anew. While it lasts, what is put off comes back sooner than that."""
_LOOK_AGAIN = (0.8, 1.0)
"""Seconds after which to look again although nothing known is due: someone may have scheduled an earlier task."""


class Forwarding:
    """The chore, for the queues that are ours to look after.

    Time is the server's, so that no host's clock runs tasks early.
    """

    def __init__(
        self, stewardship: Stewardship, link: Link, *, listener: Listener, clock: Clock, rng: random.Random
    ) -> None:
        self._stewardship = stewardship
        self._asking = Asking("forwarding", link, listener=listener, clock=clock)
        self._listener = listener
        self._clock = clock
        self._rng = rng
        self._script = load("forward")
        self._put_off: dict[tuple[QueueKeys, bytes], float] = {}

    async def run(self) -> float:
        """Move all that is due. Returns seconds until the next may be due; 0 when more is due than one run moves."""
        left = await self._stewardship.held()
        if not left:
            return self._stewardship.pause()
        soonest = self._rng.uniform(*_LOOK_AGAIN)
        ends = self._clock.monotonic() + _LONGEST
        for _ in range(_MOST_ROUNDS):
            again = []
            replies = await self._asking.ask({keys: self._command(keys) for keys in left})
            for keys, (_moved, delay_ms, ghosts, strays, damage) in replies.items():
                self._tell(keys, ghosts, "had no task behind them")
                self._tell(keys, strays, "were also in the place that their state names")
                if damage:
                    self._tell_put_off(keys, set(damage))
                if delay_ms == 0:
                    again.append(keys)
                elif delay_ms > 0:
                    soonest = min(soonest, delay_ms / 1000)
            if not again:
                return soonest
            left = again
            if self._clock.monotonic() >= ends:
                break
        return 0.0

    def _command(self, keys: QueueKeys) -> tuple[str | bytes | float, ...]:
        names = (*(keys.scheduled, keys.retry, keys.pending, keys.groups), *(keys.lease, keys.archived, keys.completed))
        return self._script.command(names, (keys.task_prefix, keys.group(""), _BATCH))

    def _tell(self, keys: QueueKeys, ids: list[bytes], why: str) -> None:
        if ids:
            shown = [task_id.decode(errors="replace") for task_id in ids[:5]]
            text = f"{len(ids)} ids in scheduled or retry of {keys.queue} {why}; they were removed: {', '.join(shown)}"
            fields = {"queue": keys.queue, "count": len(ids), "ids": shown}
            self._listener.notice(Notice("forward_dropped", text, Level.WARNING, fields=fields))

    def _tell_put_off(self, keys: QueueKeys, damage: set[bytes]) -> None:
        """Tell what holds tasks up, once."""
        now = self._clock.monotonic()
        self._put_off = {what: at for what, at in self._put_off.items() if now - at < _TELL_AGAIN_AFTER}
        news = sorted(why.decode(errors="replace") for why in damage if (keys, why) not in self._put_off)
        self._put_off.update(dict.fromkeys(((keys, why) for why in damage), now))
        if news:
            text = f"Tasks of {keys.queue} that are due stay where they are until this is mended: {'; '.join(news[:5])}"
            fields = {"queue": keys.queue, "why": news[:5]}
            self._listener.notice(Notice("forward_put_off", text, Level.ERROR, fields=fields))
