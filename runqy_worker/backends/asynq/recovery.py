"""Takes over tasks whose lease ran out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runqy_worker.backends.asynq.asking import Asking
from runqy_worker.backends.asynq.codec import CodecError, decode_message, encode_message
from runqy_worker.backends.asynq.keys import day_of
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.clock import SharedClock
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.codec import TaskMessage
    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.stewardship import Stewardship
    from runqy_worker.config.model import LeaseConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_BATCH = 100
_FOREIGN_GRACE = 30
"""Seconds that asynq lets pass after a lease ran out, because its leases follow the clocks of many hosts."""
_FOREIGN_ERROR = "asynq: task lease expired"
_STATS_TTL = 90 * 86400
_SHOWN = 5
_NOT_NOW = -1


class _Lapse(NamedTuple):
    """A Go worker's lease that ran out: the score as it was seen, and two fields of the task's hash."""

    keys: QueueKeys
    task_id: bytes
    score: bytes
    msg: bytes
    retried: bytes


class Recovery:
    """The chore, for the queues that are ours to look after and have been for one `recover_every`.

    Our own leases are told by their fraction and follow the server's clock: such a task goes straight to the front,
    uncharged. A Go worker's are whole seconds of its own clock and keep asynq's rules: grace, then retry or archive.
    asynq believes the clock of whoever looks; here the server's must say the same, and since the Go worker's own may be
    wrong too, its lease must have stood still for one lease of ours: asynq's workers renew theirs every 5 s.
    Nothing is recovered until one full lease after the connection was made, or after the server or this worker stood
    still for a while or its clock was set, so that everyone who lives can renew first. Every look begins with a write
    that changes nothing: a server that loads its data, or is a replica for now, answers much but takes no renewals.
    Asking for the stewardship begins so too; whoever does not look knows from that whether the server went on.
    """

    def __init__(
        self,
        keys: Sequence[QueueKeys],
        stewardship: Stewardship,
        link: Link,
        *,
        lease: LeaseConfig,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._keys = keys
        self._stewardship = stewardship
        self._link = link
        self._lease = lease
        self._listener = listener
        self._clock = SharedClock.on(clock)
        self._rng = rng
        self._asking = Asking("recovery", link, listener=listener, clock=clock)
        self._recover = load("recover")
        self._take_over = load("take_over")
        self._patience = lease.duration / 4
        self._in_touch_since = float("-inf")
        self._look_by = float("inf")
        self._server_ahead: float | None = None
        self._foreign: dict[tuple[QueueKeys, bytes], tuple[bytes, float]] = {}

    async def run(self) -> float:
        """Recover everything that lapsed. Returns seconds until it is worth looking again."""
        try:
            return await self._run()
        except BackendUnavailableError:
            self._begin_again()
            raise

    async def _run(self) -> float:
        held = await self._stewardship.held(for_at_least=self._lease.recover_every)
        wait = await self._get_in_touch()
        if wait > 0:
            return wait
        if self._has_jumped():
            return self._begin_again()
        if not held:
            return self._due_in(self._stewardship.pause())
        now = self._clock.time()
        skip = dict.fromkeys(held, 0)
        foreign: list[_Lapse] = []
        while skip:
            replies = await self._asking.ask({keys: self._look(keys, offset, now) for keys, offset in skip.items()})
            if any(reply[0] == _NOT_NOW for reply in replies.values()):
                return self._begin_again()
            skip = {keys: skip[keys] for keys in replies}
            for keys, (looked, kept, recovered, dropped, others) in replies.items():
                self._tell("lease_recovered", "were taken back from workers that fell silent", keys, recovered)
                self._tell("lease_dropped", "had a lease but no task behind it and were removed", keys, dropped)
                foreign += (_Lapse(keys, *others[at : at + 4]) for at in range(0, len(others), 4))
                if looked == _BATCH:
                    skip[keys] += kept
                else:
                    del skip[keys]
        abandoned = self._abandoned(foreign, now)
        if abandoned:
            await self._take_over_all(abandoned, self._clock.server_time())
        return self._due_in(self._lease.recover_every * self._rng.uniform(0.8, 1.2))

    async def _get_in_touch(self) -> float:
        """Seconds until the next look, while not everyone who lives has had the time to renew; else 0.

        The server's time is known once it is 0.
        """
        await self._link.connect()
        if self._link.connected_at > self._in_touch_since:
            self._in_touch_since = self._link.connected_at
            self._server_ahead = None
        if self._clock.monotonic() > self._look_by:  # also when another chore connected again meanwhile
            return self._begin_again()
        asked_at = self._clock.monotonic()
        if self._server_ahead is None:  # its clock must go on as it does now, from here until everyone has renewed
            seconds, micros = await self._link.call("TIME")
            self._server_ahead = int(seconds) + int(micros) / 1e6 - asked_at
            self._in_touch_since = asked_at
        wait = self._in_touch_since + self._lease.duration - asked_at
        if wait > 0:
            probes = await self._asking.ask({keys: self._look(keys, 0, asked_at, most=0) for keys in self._keys[:1]})
            if any(reply[0] == _NOT_NOW for reply in probes.values()):
                return self._begin_again()
        if self._clock.monotonic() - asked_at > self._patience:
            return self._begin_again()
        return self._due_in(min(wait, self._lease.recover_every)) if wait > 0 else 0.0

    def _has_jumped(self) -> bool:
        """Whether the server's clock did not go on as expected, by what it said when it was last asked."""
        heard = self._stewardship.heard
        if heard is None or self._server_ahead is None or heard.asked_at <= self._in_touch_since:
            return False
        return abs(heard.ahead - self._server_ahead) > self._patience

    def _begin_again(self) -> float:
        """Someone stood still, the server's clock was set, or no writes were taken: as after a new connection."""
        self._in_touch_since = self._clock.monotonic()
        self._server_ahead = None
        return self._due_in(min(self._lease.recover_every, self._patience))

    def _due_in(self, seconds: float) -> float:
        """The same seconds; being much later than that means that something stood still."""
        self._look_by = self._clock.monotonic() + seconds + self._patience
        return seconds

    def _look(self, keys: QueueKeys, offset: int, now: float, *, most: int = _BATCH) -> tuple[Arg, ...]:
        names = (keys.lease, keys.active, keys.pending)
        cutoff = int(now + self._lease.duration) - _FOREIGN_GRACE  # those whose grace ends soon are watched already
        expected = self._clock.monotonic() + (self._server_ahead or 0.0)
        between = (f"{expected + self._patience:.3f}", f"{expected - self._patience:.3f}")
        return self._recover.command(names, (keys.task_prefix, offset, most, cutoff, *between))

    def _abandoned(self, lapsed: list[_Lapse], now: float) -> list[_Lapse]:
        """Those of the Go workers' leases that nobody renews any more: the grace is over and they stood still."""
        monotonic = self._clock.monotonic()
        before, self._foreign = self._foreign, {}
        abandoned = []
        for lapse in lapsed:
            place = (lapse.keys, lapse.task_id)
            score, since = before.get(place, (b"", monotonic))
            if score != lapse.score:
                since = monotonic
            self._foreign[place] = (lapse.score, since)
            if monotonic - since >= self._lease.duration and float(lapse.score) <= int(now) - _FOREIGN_GRACE:
                abandoned.append(lapse)
        return abandoned

    async def _take_over_all(self, foreign: list[_Lapse], now: float) -> None:
        for start in range(0, len(foreign), _BATCH):
            batch = foreign[start : start + _BATCH]
            replies = await self._link.ask([self._take(lapse, now) for lapse in batch])
            taken: dict[QueueKeys, list[bytes]] = {}
            for lapse, done in zip(batch, replies, strict=True):
                if done == 1:  # what Redis refuses stays; why, the next look says
                    taken.setdefault(lapse.keys, []).append(lapse.task_id)
            for keys, ids in taken.items():
                self._tell("foreign_lease_recovered", "were taken over from Go workers that fell silent", keys, ids)

    def _take(self, lapse: _Lapse, now: float) -> tuple[Arg, ...]:
        keys = lapse.keys
        seen = (keys.task_prefix, lapse.task_id, lapse.score)
        try:
            message = decode_message(lapse.msg)
        except CodecError:  # whoever claims it will say so and archive it
            return self._take_over.command((keys.lease, keys.active, keys.pending), (*seen, "pending"))
        message.retried = max(message.retried, int(lapse.retried) if lapse.retried.isdigit() else 0)
        state, target, at = self._verdict(keys, message, now)
        message.error_msg = _FOREIGN_ERROR
        message.last_failed_at = int(now)
        day = day_of(now)
        counters = (keys.processed_on(day), keys.failed_on(day), keys.processed, keys.failed)
        return self._take_over.command(
            (keys.lease, keys.active, target, *counters),
            (*seen, state, at, encode_message(message), int(now) + _STATS_TTL),
        )

    def _verdict(self, keys: QueueKeys, message: TaskMessage, now: float) -> tuple[str, str, int]:
        """What asynq decides: the state, the set and the score in it. A retry is counted in the message."""
        retried = message.retried
        if retried >= message.retry:
            return "archived", keys.archived, int(now)
        message.retried += 1
        delay = retried**4 + 15 + self._rng.randrange(30) * (retried + 1)
        return "retry", keys.retry, int(now) + delay

    def _tell(self, action: str, what: str, keys: QueueKeys, ids: list[bytes]) -> None:
        if ids:
            shown = [task_id.decode(errors="replace") for task_id in ids[:_SHOWN]]
            more = ", ..." if len(ids) > _SHOWN else ""
            message = f"{len(ids)} tasks of {keys.queue} {what}: {', '.join(shown)}{more}"
            fields = {"queue": keys.queue, "count": len(ids), "ids": shown}
            self._listener.notice(Notice(action, message, Level.WARNING, fields=fields))
