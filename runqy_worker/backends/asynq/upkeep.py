"""Runs the queues' chores, each when it is due."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from runqy_worker.backends.asynq.auditing import Auditing
from runqy_worker.backends.asynq.forwarding import Forwarding
from runqy_worker.backends.asynq.janitor import Janitor
from runqy_worker.backends.asynq.plain_keys import PlainKeys
from runqy_worker.backends.asynq.recovery import Recovery
from runqy_worker.backends.asynq.stewardship import LONGEST_TERM, Stewardship
from runqy_worker.backends.asynq.sweeping import Sweeping
from runqy_worker.domain.clock import SharedClock
from runqy_worker.domain.errors import BackendError, BackendUnavailableError
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.config.model import LeaseConfig, LifecycleConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_PURGE_EVERY = 8.0
_AUDIT_EVERY = 10.0
_AFTER_REFUSAL = 30.0
"""Seconds until a chore that Redis refused is tried again."""


class Chore(Protocol):
    """One kind of upkeep."""

    async def run(self) -> float:
        """Do what is due now. Returns seconds until it is due again."""


class Upkeep:
    """All chores of some queues, over one connection.

    Args:
        keys: The queues.
        link: A connection that nothing else blocks on.
        lease: How often lapsed leases are looked for, and how long ours last.
        lifecycle: How long archived tasks are kept.
        max_retry: For tasks of the oldest form that don't carry their own limit.
        name: What the queues' steward is called if that is us; unique in the fleet.
        plain_keys: Also serve the oldest documented keys.
    """

    def __init__(
        self,
        keys: Sequence[QueueKeys],
        link: Link,
        *,
        lease: LeaseConfig,
        lifecycle: LifecycleConfig,
        max_retry: int,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
        name: str = "",
        plain_keys: bool = False,
    ) -> None:
        self._clock = clock
        self._listener = listener
        every = lease.recover_every
        shared = SharedClock.on(clock)
        self._stewardship = stewardship = Stewardship(
            keys,
            link,
            name=name or secrets.token_hex(8),
            lasts=min(LONGEST_TERM, 5 / 3 * every),
            listener=listener,
            clock=shared,
            rng=rng,
        )
        chores: list[Chore] = [
            Forwarding(stewardship, link, listener=listener, clock=clock, rng=rng),
            Recovery(keys, stewardship, link, lease=lease, listener=listener, clock=shared, rng=rng),
            Sweeping(stewardship, link, every=every, listener=listener, clock=clock, rng=rng),
            Janitor(
                stewardship,
                link,
                every=_PURGE_EVERY,
                ttl_archived=lifecycle.ttl_archived,
                listener=listener,
                clock=clock,
                rng=rng,
            ),
            Auditing(
                stewardship,
                link,
                every=max(every, _AUDIT_EVERY),
                again=every,
                listener=listener,
                clock=clock,
                rng=rng,
            ),
        ]
        if plain_keys:
            ttl = lifecycle.ttl_completed
            chores.append(PlainKeys(keys, link, max_retry=max_retry, keep=ttl, listener=listener, rng=rng))
        self._due_at: dict[Chore, float] = dict.fromkeys(chores, float("-inf"))

    async def run(self) -> float:
        """Do what is due.

        Returns:
            Seconds until the next chore is due.

        Raises:
            BackendUnavailableError: Redis can't be reached now. The chore that was under way stays due.
        """
        for chore, due_at in self._due_at.items():
            if self._clock.monotonic() >= due_at:
                self._due_at[chore] = await self._do(chore) + self._clock.monotonic()
        return max(0.0, min(self._due_at.values()) - self._clock.monotonic())

    async def end(self) -> None:
        """Leave the chores to others, at once."""
        await self._stewardship.give_up()

    async def _do(self, chore: Chore) -> float:
        """Run one chore. What Redis refuses is reported and must not keep the other chores from being done."""
        try:
            return await chore.run()
        except BackendUnavailableError:
            raise
        except BackendError as error:
            name = type(chore).__name__.lower()
            self._listener.notice(
                Notice("chore_failed", f"Upkeep ({name}) failed: {error}", Level.ERROR, fields={"chore": name})
            )
            return _AFTER_REFUSAL
