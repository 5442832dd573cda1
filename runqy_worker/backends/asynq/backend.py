"""The backend port, put together from its parts."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.cancellation import Cancellations
from runqy_worker.backends.asynq.claims import Claimer
from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.mastership import Mastership
from runqy_worker.backends.asynq.priorities import Priorities
from runqy_worker.backends.asynq.records import TaskReader
from runqy_worker.backends.asynq.repairs import Repairs
from runqy_worker.backends.asynq.settling import Settler
from runqy_worker.backends.asynq.standing import Standing
from runqy_worker.backends.asynq.taking import Taker
from runqy_worker.backends.asynq.timekeeping import learn_time
from runqy_worker.backends.asynq.traffic import Traffic
from runqy_worker.backends.asynq.upkeep import Upkeep
from runqy_worker.backends.asynq.waiting import Waits
from runqy_worker.domain.clock import SharedClock
from runqy_worker.domain.errors import BackendError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.config.model import LeaseConfig, LifecycleConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener
    from runqy_worker.domain.settlement import Settlement
    from runqy_worker.domain.task import Task


class AsynqBackend:
    """Tasks in Redis, as asynq and the runqy server know them.

    Keeps five connections: one each for claims, settlements, renewals and upkeep, and the subscription of `listen`;
    while it waits also one per open queue, at most `wait_connections`.

    Args:
        weights: Queue name -> weight; those of weight 0 or less are not served.
        options: Where Redis is.
        worker_id: Unique in the fleet; part of every claim's token.
        lease: How long claims last.
        lifecycle: How long tasks wait, run and are kept, where they don't say themselves.
        max_retry: For tasks that were enqueued as plain fields without a limit of their own.
        strict_priority: Always serve the heaviest queue first, instead of by weighted chance.
        wait_connections: Most connections that wait.
        clock: Time. A `SharedClock` is kept in step with the server's, any other one becomes the base of one.
        store_result: Whether results are written.
        plain_keys: Also serve the oldest documented keys.
    """

    def __init__(
        self,
        weights: Mapping[str, int],
        *,
        options: RedisOptions,
        worker_id: str,
        lease: LeaseConfig,
        lifecycle: LifecycleConfig,
        max_retry: int,
        strict_priority: bool,
        wait_connections: int,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
        store_result: bool = True,
        plain_keys: bool = False,
    ) -> None:
        self._clock = clock = SharedClock.on(clock)
        self._options = options
        self._patience = lease.duration / 4
        self._listener = listener
        self._strict = strict_priority
        self._rng = rng
        self._keys_of = cache(QueueKeys)
        self._links: list[Link] = []
        self._claims = self._link("claim")
        settles = self._link("settle")
        self._renewals = self._link("renew")
        for link in (self._claims, self._renewals):
            link.reconfigure(self._hurried(options))
        self._chores = self._link("upkeep")
        self._permanent = tuple(self._links)
        waits = [self._link(f"wait-{number}") for number in range(1, wait_connections + 1)]
        self._waiting = Traffic()
        for link in waits:
            link.traffic = self._waiting
        priorities = Priorities(weights, strict=strict_priority, rng=rng)
        standing = Standing(clock, listener)
        self._settler = Settler(
            self._keys_of,
            settles,
            self._renewals,
            lease_seconds=lease.duration,
            lifecycle=lifecycle,
            standing=standing,
            clock=clock,
            store_result=store_result,
        )
        repairs = Repairs(self._keys_of, self._claims, self._settler, listener)
        taker = Taker(
            self._keys_of,
            standing=standing,
            repairs=repairs,
            reader=TaskReader(lifecycle, max_retry),
            owner=f"{worker_id}/{rng.getrandbits(32):08x}-",
            lease_seconds=lease.duration,
        )
        turns = list(priorities.queues)
        if len(turns) > len(waits):
            rng.shuffle(turns)  # so that the workers of a fleet do not all wait on the same few
        self._waits = Waits(
            waits,
            self._claims,
            self._keys_of,
            turns,
            standing=standing,
            taker=taker,
            lease_seconds=lease.duration,
            clock=clock,
        )
        self._claimer = Claimer(
            self._claims,
            priorities=priorities,
            standing=standing,
            taker=taker,
            waits=self._waits,
            repairs=repairs,
            settler=self._settler,
            lease_seconds=lease.duration,
            clock=clock,
        )

        steward = secrets.token_hex(8)

        def make_upkeep(queues: Sequence[str]) -> Upkeep:
            return Upkeep(
                [self._keys_of(queue) for queue in queues],
                self._chores,
                lease=lease,
                lifecycle=lifecycle,
                max_retry=max_retry,
                listener=listener,
                clock=clock,
                rng=rng,
                name=steward,
                plain_keys=plain_keys,
            )

        self._make_upkeep = make_upkeep
        self._upkeep = make_upkeep(priorities.queues)
        self._cancellations = Cancellations(lambda: self._options)
        self._mastership = Mastership(lambda: self._options, self._links, listener)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that are served."""
        return self._claimer.priorities.queues

    def traffic(self) -> dict[str, Traffic]:
        """What the connections have seen, by what they are for; those that wait for tasks together as `wait`."""
        return {link.name: link.traffic for link in self._permanent} | {"wait": self._waiting}

    def reconfigure(self, options: RedisOptions) -> None:
        """Use these options from the next connection on; those that stand are kept."""
        self._options = options
        for link in self._links:
            link.reconfigure(self._hurried(options) if link in (self._claims, self._renewals) else options)

    def set_weights(self, weights: Mapping[str, int]) -> None:
        """Serve these queues from the next claim on. Tasks already claimed are settled and renewed as before."""
        priorities = Priorities(weights, strict=self._strict, rng=self._rng)
        known, self._claimer.priorities = self.queues, priorities
        if set(known) == set(priorities.queues):
            return  # upkeep that starts anew would not recover anything for the length of a lease
        self._waits.set_queues(priorities.queues)
        self._upkeep = self._make_upkeep(priorities.queues)

    def set_store_result(self, store_result: bool) -> None:
        """Whether results are written from now on."""
        self._settler.store_result = store_result

    async def open(self) -> None:
        """Connect.

        Raises:
            BackendUnavailableError: Redis can't be reached, or (`BackendAuthError`) refuses our credentials.
            BackendError: It is too old.
        """
        for link in self._permanent:
            await link.connect()
        await learn_time(self._chores, self._clock)
        known = (await self._claims.pipeline([("COMMAND", "INFO", "BLMOVE")], keep_errors=True))[0]
        if isinstance(known, list) and not known[0]:
            raise BackendError(f"redis at {self._claims.where} has no BLMOVE: version 6.2 or newer is needed")

    async def wait(self) -> None:
        """Block until there may be something to claim. Raises `BackendUnavailableError` when a wait is cut off."""
        await self._waits.wait(self._claimer.wanted)

    async def stop_waiting(self) -> None:
        """End all waits, and give back to the front what they took hold of."""
        await self._waits.stop()
        await self._claimer.give_back()

    async def claim(self, want: int) -> list[Task]:
        """Take up to `want` tasks, each under a lease."""
        return await self._claimer.claim(want)

    async def renew(self, tasks: Sequence[Task]) -> list[bool]:
        """Extend the leases. False where the token is void."""
        return await self._settler.renew(tasks)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write outcomes. False where the token was void: nothing was written for that task."""
        return await self._settler.settle(settlements)

    async def upkeep(self) -> float:
        """Do what is due of the queues' chores. Returns seconds until the next."""
        return await self._upkeep.run()

    async def listen(self, on_cancel: Callable[[str], None]) -> None:
        """Call `on_cancel(task_id)` for each cancellation, until cancelled or cut off (`BackendUnavailableError`).

        Also hears when the Sentinels, if there are any, name another master.
        """
        work = [asyncio.create_task(self._cancellations.listen(on_cancel))]
        if self._options.sentinel_addrs:
            work.append(asyncio.create_task(self._mastership.watch()))
        try:
            await asyncio.gather(*work)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def is_empty(self) -> bool:
        """Whether nothing waits in any of the queues, nor is in our hands, on its way to us included."""
        return await self._claimer.is_empty()

    async def close(self) -> None:
        """End all waits and disconnect. What they held is found by the sweep unless `stop_waiting` came before."""
        await self._waits.stop()
        await self._upkeep.end()
        for link in self._links:
            await link.close()

    def _hurried(self, options: RedisOptions) -> RedisOptions:
        """With so little patience that leases don't lapse while a claim or a renewal waits on a silent connection."""
        most = self._patience
        return replace(options, timeout=min(options.timeout, most), connect_timeout=min(options.connect_timeout, most))

    def _link(self, name: str) -> Link:
        link = Link(self._options, name, listener=self._listener)
        self._links.append(link)
        return link
