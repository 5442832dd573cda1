"""Moves scheduled and retried tasks to pending when their time has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.domain.events import Listener

_BATCH = 100
_MOST_ROUNDS = 100
_LOOK_AGAIN = (1.0, 5.0)
"""Seconds after which to look again although nothing known is due: someone may have scheduled an earlier task."""


class Forwarding:
    """The chore. Time is the server's, so that no host's clock runs tasks early."""

    def __init__(self, keys: Sequence[QueueKeys], link: Link, *, listener: Listener, rng: random.Random) -> None:
        self._keys = keys
        self._link = link
        self._listener = listener
        self._rng = rng
        self._script = load("forward")

    async def run(self) -> float:
        """Move all that is due. Returns seconds until the next may be due; 0 when more is due than one run moves."""
        left = self._keys
        soonest = self._rng.uniform(*_LOOK_AGAIN)
        for _ in range(_MOST_ROUNDS):
            again = []
            replies = await self._link.pipeline([self._command(keys) for keys in left])
            for keys, (_moved, delay_ms, *dropped) in zip(left, replies, strict=True):
                if dropped:
                    self._tell(keys, [task_id.decode(errors="replace") for task_id in dropped])
                if delay_ms == 0:
                    again.append(keys)
                elif delay_ms > 0:
                    soonest = min(soonest, delay_ms / 1000)
            if not again:
                return soonest
            left = again
        return 0.0

    def _command(self, keys: QueueKeys) -> tuple[str | bytes | float, ...]:
        names = (keys.scheduled, keys.retry, keys.pending, keys.groups)
        return self._script.command(names, (keys.task_prefix, keys.group(""), _BATCH))

    def _tell(self, keys: QueueKeys, ids: list[str]) -> None:
        self._listener.notice(
            Notice(
                "forward_dropped",
                f"{len(ids)} ids in scheduled or retry of {keys.queue} had no task behind them and were removed.",
                Level.WARNING,
                fields={"queue": keys.queue, "count": len(ids), "ids": ids[:5]},
            )
        )
