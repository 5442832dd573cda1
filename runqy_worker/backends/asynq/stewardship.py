"""One worker per queue does its chores, so that their cost does not grow with the fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runqy_worker.backends.asynq.asking import Asking
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.errors import BackendError

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.domain.clock import SharedClock
    from runqy_worker.domain.events import Listener

LONGEST_TERM = 5.0
"""Seconds that a steward who fell silent is waited for, at most."""
_SPREAD = 0.2
"""Most parts of a term that one who may take over comes late, so that not all ask in the same instant."""
_GOODBYE = 1.0
"""Seconds that giving it up may take; it would lapse soon anyway."""


class Heard(NamedTuple):
    """What the last answer said of the server's clock.

    Attributes:
        asked_at: When it was asked for, by the monotonic clock.
        ahead: Seconds that the server's clock, then, was ahead of that.
    """

    asked_at: float
    ahead: float


class Stewardship:
    """A lock per queue, `asynq:{<queue>}:steward`, for a term by the server's clock.

    Its holder renews it three times per term. Everybody else asks again only when the term that they saw is over, so
    that a holder who dies or falls silent is replaced within 1.2 terms, also when the server's clock is set back
    meanwhile. The chores are safe when two do them at once; the lock only saves work. Every answer tells the server's
    time, which keeps the clock right.

    Args:
        name: Who we are; unique in the fleet.
        lasts: Seconds of a term, at most `LONGEST_TERM`.

    Attributes:
        heard: What the last answer said of the server's clock; None before the first.
    """

    def __init__(
        self,
        keys: Sequence[QueueKeys],
        link: Link,
        *,
        name: str,
        lasts: float,
        listener: Listener,
        clock: SharedClock,
        rng: random.Random,
    ) -> None:
        self.heard: Heard | None = None
        self._link = link
        self._asking = Asking("stewardship", link, listener=listener, clock=clock)
        self._name = name
        self._lasts = lasts
        self._clock = clock
        self._rng = rng
        self._script = load("steward")
        self._ask_at = dict.fromkeys(keys, float("-inf"))
        self._since: dict[QueueKeys, float] = {}

    async def held(self, *, for_at_least: float = 0.0) -> list[QueueKeys]:
        """The queues that are ours to look after now, and have been for so many seconds. Asks Redis when that is due.

        Raises:
            BackendUnavailableError: Redis can't be reached, or takes no writes now.
        """
        now = self._clock.monotonic()
        due = [keys for keys, at in self._ask_at.items() if at <= now]
        if due:
            await self._ask(due)
            now = self._clock.monotonic()
        return [keys for keys, since in self._since.items() if now - since >= for_at_least]

    def pause(self) -> float:
        """Seconds until Redis is to be asked again."""
        now = self._clock.monotonic()
        return max(0.0, min(self._ask_at.values(), default=now + self._lasts) - now)

    async def give_up(self) -> None:
        """Let the next who asks have it, at once. Does nothing when Redis can't be reached: it lapses soon."""
        held, self._since = list(self._since), {}
        if held and self._link.connected_at:
            try:
                await self._link.pipeline([self._command(keys, 0) for keys in held], limit=_GOODBYE, keep_errors=True)
            except BackendError:
                return

    async def _ask(self, due: Sequence[QueueKeys]) -> None:
        asked_at = self._clock.monotonic()
        term = max(1, int(self._lasts * 1000))
        replies = await self._asking.ask({keys: self._command(keys, term) for keys in due})
        now = self._clock.monotonic()
        late = self._lasts * self._rng.uniform(0.0, _SPREAD)  # one for all: what lapses together is asked for together
        server_time: float | None = None
        for keys in due:
            left, seconds, micros = replies.get(keys, (term, None, None))
            if seconds is not None:
                server_time = int(seconds) + int(micros) / 1e6
                self.heard = Heard(asked_at, server_time - asked_at)
            if left:
                self._since.pop(keys, None)
                self._ask_at[keys] = now + min(left / 1000, LONGEST_TERM) + late
            else:
                self._since.setdefault(keys, now)
                self._ask_at[keys] = asked_at + self._lasts / 3
        if server_time is not None:
            self._clock.hear(server_time, asked_at)

    def _command(self, keys: QueueKeys, term: int) -> tuple[Arg, ...]:
        names = (f"{keys.prefix}steward", f"{keys.prefix}none")
        return self._script.command(names, (self._name, term, int(LONGEST_TERM * 1000)))
