"""Takes tasks: as many as asked for, from several queues, in one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.lengths import Lengths
from runqy_worker.backends.asynq.waiting import TRUST_SHARE
from runqy_worker.domain.errors import BackendError, BackendUnavailableError
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.priorities import Priorities
    from runqy_worker.backends.asynq.repairs import Repairs
    from runqy_worker.backends.asynq.settling import Settler
    from runqy_worker.backends.asynq.standing import Standing
    from runqy_worker.backends.asynq.taking import Taker
    from runqy_worker.backends.asynq.waiting import Waits
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.task import Task


class Claimer:
    """Claims for one backend.

    A claim that got no answer may have taken tasks: the next one first looks for what is held under its token.

    Args:
        link: For claims.
        priorities: The order in which queues are asked.
        taker: Calls the script.
        waits: What waits took, the claim hands out.
        repairs: Looks after tasks that are not as asynq stores them.
        settler: Gives back what waits took and nobody wants.
        lease_seconds: How long a claim lasts.
    """

    def __init__(
        self,
        link: Link,
        *,
        priorities: Priorities,
        standing: Standing,
        taker: Taker,
        waits: Waits,
        repairs: Repairs,
        settler: Settler,
        lease_seconds: float,
        clock: Clock,
    ) -> None:
        self.priorities = priorities
        self.wanted = 1
        """How many were asked for last: what a wait may take."""
        self._link = link
        self._standing = standing
        self._taker = taker
        self._waits = waits
        self._repairs = repairs
        self._settler = settler
        self._clock = clock
        self._trust = lease_seconds * TRUST_SHARE
        self._lengths = Lengths(clock)

    async def claim(self, want: int) -> list[Task]:
        """Up to `want` tasks.

        What waits took is there at once. What they only took hold of, and what unanswered claims may have taken, is
        cleared up before new tasks are taken. Nothing more is asked for once there are some: while that got no answer,
        nobody would renew their leases.
        """
        self.wanted = max(1, want)
        tasks = self._waits.take_adopted(want)
        if not tasks:
            await self._release_unused()
            held = self._waits.take_held()
            if held or self._taker.unanswered:
                tasks = await self._clear_up(held, want)
        if not tasks:
            tasks = await self._take(want)
        await self._repairs.run()
        return tasks

    async def give_back(self) -> None:
        """Put back to the front what waits and unanswered claims hold."""
        self._waits.drop_adopted()
        await self._release_unused()
        held = self._waits.take_held()
        if held or self._taker.unanswered:
            await self._clear_up(held, 0)
            await self._repairs.run()

    async def is_empty(self) -> bool:
        """Whether nothing waits in any of the queues, and nothing of theirs is ours or on its way to us.

        Raises:
            BackendUnavailableError: Redis can't be reached now.
        """
        queues = self.priorities.queues
        if not queues:
            return True
        return bool(await self._link.call(*self._taker.is_empty(queues)))

    async def _release_unused(self) -> None:
        """Give back what waits claimed in vain; what got no answer is sent again the next time."""
        unused = self._waits.unused
        if unused:
            sent = unused.copy()
            await self._settler.settle([Settlement(task, Action.RELEASE) for task in sent])
            del unused[: len(sent)]

    async def _take(self, want: int) -> list[Task]:
        order = self.priorities.order()
        if not self._standing.all_well:
            order = [queue for queue in order if self._standing.is_claimable(queue)]
        first, rest = self._lengths.choose(order, want)
        self._waits.may_find = False
        tasks = await self._take_from(first, want) if first else []
        if rest and not tasks:
            return await self._take_from(rest, want)
        if rest:
            self._waits.may_find = True
        return tasks

    async def _take_from(self, queues: Sequence[str], want: int) -> list[Task]:
        if not self._link.connected_at:
            await self._link.connect()  # what fails here was never sent, and leaves no token behind
        token = self._taker.new_token()
        command = self._taker.take(queues, want, token)
        began = self._clock.monotonic()
        try:
            reply = (await self._link.pipeline((command,), keep_errors=True))[0]
        except BaseException:
            self._taker.went_unanswered(queues, token)
            raise
        if isinstance(reply, BackendUnavailableError):
            raise reply
        if isinstance(reply, BackendError):
            for queue in queues:  # nothing that the script looks at beforehand: it can't tell which queue it is
                self._standing.refuse(queue, reply)
            return []
        taken = self._taker.read(reply, queues, token, began)
        self._lengths.note(queues[: taken.looked], taken.left)
        if taken.looked < len(queues) or taken.left > 0:
            self._waits.may_find = True
        return await self._still_ours(taken.tasks, began)

    async def _still_ours(self, tasks: list[Task], began: float) -> list[Task]:
        """Those that are ours for certain: what was claimed long ago, because this process slept, is renewed first."""
        if not tasks or self._clock.monotonic() - began <= self._trust:
            return tasks
        try:
            flags = await self._settler.renew(tasks)
        except BaseException:
            self._waits.unused += tasks
            raise
        return [task for task, ours in zip(tasks, flags, strict=True) if ours]

    async def _clear_up(self, held: Mapping[str, list[bytes]], want: int) -> list[Task]:
        """What is held for us and wanted, each queue's in one command; the rest goes back to the front."""
        if not self._link.connected_at:
            try:
                await self._link.connect()
            except BaseException:
                self._waits.put_back(held)
                raise
        token = self._taker.new_token()
        looked_for = {queue: tuple(tokens) for queue, tokens in self._taker.unanswered.items()}
        served = self.priorities.order()
        queues = list(dict.fromkeys((*served, *held, *looked_for)))
        queues = [queue for queue in queues if queue in held or queue in looked_for]
        commands = []
        for queue in queues:
            expected = want if queue in looked_for else len(held[queue])
            share = min(expected, want) if queue in served and self._standing.is_claimable(queue) else 0
            want -= share
            commands.append(self._taker.clear_up(queue, share, token, looked_for.get(queue, ()), held.get(queue, ())))
        began = self._clock.monotonic()
        try:
            replies = await self._link.pipeline(commands, keep_errors=True)
        except BaseException:
            self._taker.went_unanswered(queues, token)
            self._waits.put_back(held)
            raise
        tasks: list[Task] = []
        unavailable: BackendError | None = None
        for queue, reply in zip(queues, replies, strict=True):
            if isinstance(reply, BackendUnavailableError):
                self._waits.put_back({queue: held[queue]} if queue in held else {})
                unavailable = reply
                continue
            if isinstance(reply, BackendError):
                self._standing.refuse(queue, reply)
            else:
                tasks += self._taker.read(reply, (queue,), token, began).tasks
            self._taker.answered({queue: looked_for.get(queue, ())})
        if unavailable is not None and not tasks:
            raise unavailable
        return await self._still_ours(tasks, began)
