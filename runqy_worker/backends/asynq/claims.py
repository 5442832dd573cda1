"""Takes tasks: as many as asked for, from several queues, in as few round trips as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.codec import CodecError
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.priorities import Priorities
    from runqy_worker.backends.asynq.records import TaskReader
    from runqy_worker.backends.asynq.repairs import Repairs
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.standing import Standing
    from runqy_worker.backends.asynq.waiting import Waits
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.task import Task


class Claimer:
    """Claims for one backend.

    A claim that got no answer may have taken tasks. The next one that asks the same queue uses the same token again
    and first looks for what is held under it.

    Args:
        keys_of: The keys of a queue.
        priorities: The order in which queues are asked.
        waits: What waits took hold of, the claim adopts.
        repairs: Looks after tasks that are not as asynq stores them.
        owner: Begins every token; no other claimer may ever use it.
        lease_seconds: How long a claim lasts.
    """

    def __init__(
        self,
        keys_of: Callable[[str], QueueKeys],
        link: Link,
        *,
        priorities: Priorities,
        standing: Standing,
        waits: Waits,
        repairs: Repairs,
        reader: TaskReader,
        owner: str,
        lease_seconds: float,
        clock: Clock,
    ) -> None:
        self.priorities = priorities
        self._keys_of = keys_of
        self._link = link
        self._standing = standing
        self._waits = waits
        self._repairs = repairs
        self._reader = reader
        self._owner = owner
        self._lease_ms = int(lease_seconds * 1000)
        self._clock = clock
        self._script = load("claim")
        self._count = 0
        self._unanswered: dict[str, str] = {}

    async def claim(self, want: int) -> list[Task]:
        """Up to `want` tasks. With `want` 0 it only gives back what waits and unanswered claims hold.

        One round trip serves the first queue; where that has too few, a second one serves the others.
        """
        order = [queue for queue in self.priorities.order() if self._standing.is_claimable(queue)]
        held = self._waits.take()
        shares = self._plan(order, held, want)
        others = [queue for queue in order if queue not in shares] if want > 0 else []
        if not shares and not others:
            return []
        self._count += 1
        tasks, lengths = await self._visit(shares, held, others)
        left = want - len(tasks)
        if left <= 0 or not any(lengths):
            return tasks
        rest = {}
        for queue, length in zip(others, lengths, strict=True):
            if length and left:
                rest[queue] = min(length, left)
                left -= rest[queue]
        try:
            more, _ = await self._visit(rest, {}, [])
        except BackendUnavailableError:
            if not tasks:
                raise
            return tasks  # what that round trip took, if anything, is found by the next claim
        return tasks + more

    async def give_back(self) -> None:
        """Put back to the front what waits and unanswered claims hold."""
        await self.claim(0)

    def _plan(self, order: Sequence[str], held: Mapping[str, list[bytes]], want: int) -> dict[str, int]:
        """How many to take from each queue that is asked first.

        Queues where something is held for us must be asked, if only to give it back; the first in the order gets
        what is left.
        """
        shares = {}
        if held or self._unanswered:
            known = dict.fromkeys((*order, *held, *self._unanswered))
            for queue in known:
                if queue in held or queue in self._unanswered:
                    expected = want if queue in self._unanswered else len(held[queue])
                    shares[queue] = min(expected, want) if queue in order else 0
                    want -= shares[queue]
        if order and want > 0:
            shares[order[0]] = shares.get(order[0], 0) + want
        return shares

    async def _visit(
        self, shares: Mapping[str, int], held: Mapping[str, list[bytes]], others: Sequence[str]
    ) -> tuple[list[Task], list[int]]:
        """Take the shares, and learn how long the `others` are, in one round trip."""
        fresh = f"{self._owner}{self._count}"
        tokens = {queue: self._unanswered.get(queue, fresh) for queue in shares}
        commands: list[Sequence[Arg]] = [
            self._command(queue, share, tokens[queue], held.get(queue, ())) for queue, share in shares.items()
        ]
        commands += (("LLEN", self._keys_of(queue).pending) for queue in others)
        self._unanswered.update(tokens)
        began = self._clock.monotonic()
        try:
            replies = await self._link.pipeline(commands, keep_errors=True)
        except BaseException:
            self._waits.put_back(held)
            raise
        tasks: list[Task] = []
        unavailable: BackendError | None = None
        for queue, reply in zip(shares, replies, strict=False):
            if isinstance(reply, BackendError):
                self._waits.put_back({queue: held[queue]} if queue in held else {})
                if isinstance(reply, BackendUnavailableError):
                    unavailable = reply
                else:
                    self._standing.refuse(queue, reply)
                    self._unanswered.pop(queue, None)
                continue
            tasks += self._read(reply, queue, self._unanswered.pop(queue), began)
        if unavailable is not None and not tasks:
            raise unavailable
        await self._repairs.run()
        lengths = [reply if isinstance(reply, int) else 0 for reply in replies[len(shares) :]]
        return tasks, lengths

    def _command(self, queue: str, share: int, token: str, held: Sequence[bytes]) -> tuple[Arg, ...]:
        keys = self._keys_of(queue)
        look_first = 1 if queue in self._unanswered else 0
        return self._script.command(
            (keys.pending, keys.active, keys.lease, keys.paused, keys.task_prefix),
            (share, token, self._lease_ms, look_first, *held),
        )

    def _read(self, reply: Any, queue: str, token: str, began: float) -> list[Task]:
        """The tasks that the script returned for one queue."""
        paused, found, dropped = reply
        self._standing.set_paused(queue, paused=bool(paused))
        tasks = []
        read = self._reader.read
        for claimed in found:
            try:
                task = read(claimed, queue, token, began)
            except CodecError as error:
                self._repairs.add_unreadable(queue, claimed[2], token, str(error))
                continue
            tasks.append(task)
            if claimed[0] is None:
                self._repairs.add_plain(task)
        if dropped:
            self._repairs.tell_dropped(queue, dropped)
        return tasks
