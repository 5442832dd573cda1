"""One worker per queue does the chores that look at everything, so that their cost does not grow with the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.scripts import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.domain.clock import Clock


class Stewardship:
    """A lock per queue, `asynq:{<queue>}:steward`. When its holder falls silent, the next who asks takes it.

    The chores are safe when two do them at once; the lock only saves work.

    Args:
        name: Who we are; unique in the fleet.
        lasts: Seconds that it lasts without being renewed.
    """

    def __init__(self, keys: Sequence[QueueKeys], link: Link, *, name: str, lasts: float, clock: Clock) -> None:
        self._keys = keys
        self._link = link
        self._name = name
        self._lasts = lasts
        self._clock = clock
        self._script = load("steward")
        self._held: list[QueueKeys] = []
        self._asked_at = float("-inf")

    async def held(self) -> list[QueueKeys]:
        """The queues that are ours to look after now. Asks Redis at most three times per term."""
        now = self._clock.monotonic()
        if now - self._asked_at >= self._lasts / 3:
            term = max(1, int(self._lasts * 1000))
            commands = [self._script.command((f"{keys.prefix}steward",), (self._name, term)) for keys in self._keys]
            replies = await self._link.pipeline(commands)
            self._held = [keys for keys, ours in zip(self._keys, replies, strict=True) if ours]
            self._asked_at = now
        return self._held
