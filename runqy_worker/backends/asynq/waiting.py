"""Waits for tasks without polling, and wakes one worker per task.

Each wait is a `BLMOVE pending active` with the claim script behind it in the same write: Redis runs the script as soon
as the wait is over, so what the wait moved comes back as a claimed task, and a task that finds an idle worker is with
it after a single answer. Should the script not come to run, the id lies in active without a lease until the next
claim adopts it; should that not come either, the sweep of such ids puts it back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.errors import OutOfMemoryError
from runqy_worker.backends.asynq.key_types import explain
from runqy_worker.domain.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.standing import Standing
    from runqy_worker.backends.asynq.taking import Taker
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.task import Task

LONGEST_BLOCK = 5.0
"""Seconds that one wait may block, so that a worker that died takes no task for longer."""
BLOCK_SHARE = 0.2
"""Of a lease: a wait blocks no longer, because the lease of what it takes may have begun with it."""
TRUST_SHARE = 0.25
"""Of a lease: what came later after its wait was sent (this process stood still) is verified before it is used."""
LOOK_EVERY = 0.1
"""Seconds between two looks at queues that no connection waits on; each is one command, however many they are."""
_SLOW_LOOK = 1.0
"""Seconds until queues that can't be waited on, paused ones, say, are worth a claim."""
_MARGIN = 5.0
"""Most seconds beyond the block after which a silent connection is given up."""
_UNBLOCK_AGAIN = 0.02


class _Slot:
    """One connection that waits.

    Attributes:
        queue: What it waits on now; empty while it does not.
        work: The loop that uses it.
    """

    __slots__ = ("link", "queue", "work")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.queue = ""
        self.work: asyncio.Task[None] | None = None

    def is_busy(self) -> bool:
        """Whether its loop is running."""
        return self.work is not None and not self.work.done()


class Waits:
    """The waits of one backend.

    Args:
        links: One connection per wait; queues beyond their number are looked at ten times per second.
        control: A connection that does not block, to look and to end waits early.
        keys_of: The keys of a queue.
        queues: The queues to wait on, in the order of their turns.
        standing: Which of them are open.
        taker: Makes the claims that go with the waits.
        lease_seconds: How long a claim lasts.

    Attributes:
        may_find: A claim may find something that no wait has to wait for.
        unused: Tasks that waits claimed and nobody will run: to be given back. One by one, by their token and their
            id: others of the same claim may be running.
    """

    def __init__(
        self,
        links: Sequence[Link],
        control: Link,
        keys_of: Callable[[str], QueueKeys],
        queues: Sequence[str],
        *,
        standing: Standing,
        taker: Taker,
        lease_seconds: float,
        clock: Clock,
    ) -> None:
        self.may_find = False
        self.unused: list[Task] = []
        self._slots = [_Slot(link) for link in links]
        self._control = control
        self._keys_of = keys_of
        self._turns = list(queues)
        self._standing = standing
        self._taker = taker
        self._clock = clock
        self._block_for = min(LONGEST_BLOCK, lease_seconds * BLOCK_SHARE)
        self._trust = lease_seconds * TRUST_SHARE
        self._want = 1
        self._adopted: deque[tuple[float, Task]] = deque()
        self._held: dict[str, list[bytes]] = {}
        self._stopping = False
        self._failure: BaseException | None = None
        self._wakeup: asyncio.Future[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    def set_queues(self, queues: Sequence[str]) -> None:
        """Wait on these from now on. A wait that is open on another ends by itself, and what it gets is given back."""
        self._turns = [queue for queue in self._turns if queue in queues]
        self._turns += [queue for queue in queues if queue not in self._turns]
        self.may_find = True

    def take_adopted(self, want: int) -> list[Task]:
        """Hand over up to `want` of the tasks that waits claimed, oldest first."""
        tasks: list[Task] = []
        while self._adopted and len(tasks) < want:
            sent_at, task = self._adopted.popleft()
            if task.queue not in self._turns or self._clock.monotonic() - sent_at > self._trust:
                self.unused.append(task)
            else:
                tasks.append(task)
        return tasks

    def drop_adopted(self) -> None:
        """Use none of the tasks that waits claimed."""
        self.unused += (task for _, task in self._adopted)
        self._adopted.clear()

    def take_held(self) -> dict[str, list[bytes]]:
        """Hand over the ids that waits moved and that were not claimed with it, by queue, oldest first."""
        held, self._held = self._held, {}
        return held

    def put_back(self, held: Mapping[str, list[bytes]]) -> None:
        """Keep for the next claim what `take_held` handed over."""
        for queue, ids in held.items():
            self._held[queue] = ids + self._held.get(queue, [])

    async def wait(self, want: int) -> None:
        """Return when something was taken, or may be found. May be cancelled; the waits stay open.

        Args:
            want: How many tasks a wait may take; where there are several queues it takes one.

        Raises:
            BackendUnavailableError: A wait was cut off.
        """
        if self._adopted or self.unused or self._held or self._taker.unanswered or self.may_find:
            return
        self._failure = None
        self._stopping = False
        self._want = want if len(self._turns) == 1 else 1
        for slot in self._slots[: len(self._turns)]:
            if not slot.is_busy():
                slot.work = self._start(self._block(slot))
        waitable = sum(map(self._standing.is_waitable, self._turns))
        if waitable > len(self._slots) or waitable < len(self._turns):
            self._look_out()
        self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await self._wakeup
        finally:
            self._wakeup = None
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None and not (self._held or self._adopted):
            raise self._failure

    async def stop(self) -> None:
        """End all waits, also a `wait` under way, and return when nothing can be taken any more.

        A wait that can't be ended in an orderly way is cut off.
        """
        self._stopping = True
        self._wake()
        pause = _UNBLOCK_AGAIN
        while working := [slot for slot in self._slots if slot.is_busy()]:
            if len(self._turns) > 1:
                self.may_find = True  # nobody waits on them while there is no demand
            await self._unblock(working)
            await asyncio.wait([slot.work for slot in working if slot.work is not None], timeout=pause)
            pause = min(pause * 2, 1.0)  # the command may not have reached the server when we asked to end it

    def _look_out(self) -> None:
        """Look at queues that no connection waits on, unless that is being done."""
        if self._looking is None or self._looking.done():
            self._looking = self._start(self._look())

    async def _look(self) -> None:
        """Until a claim may find something, or every queue is waited on. Goes on between two waits."""
        time = asyncio.get_running_loop().time
        began, shut = time(), False
        while not self._stopping:
            shut = shut or not all(map(self._standing.is_waitable, self._turns))  # once open again it is waited on anew
            await asyncio.sleep(LOOK_EVERY)
            waited_on = {slot.queue for slot in self._slots}
            alone = [each for each in self._turns if each not in waited_on and self._standing.is_waitable(each)]
            if not alone and not shut:
                return
            if (shut and time() - began >= _SLOW_LOOK) or (alone and await self._any_pending(alone)):
                self.may_find = True
                self._wake()
                return

    async def _any_pending(self, queues: Sequence[str]) -> bool:
        """Whether some of the queues have tasks, or Redis will not say: then a claim tells why."""
        command = ("EXISTS", *(self._keys_of(queue).pending for queue in queues))
        return bool((await self._control.ask((command,)))[0])

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def _unblock(self, slots: Sequence[_Slot]) -> None:
        named = [slot for slot in slots if slot.link.client_id]
        for slot in slots:
            if slot not in named and slot.work is not None:
                slot.work.cancel()  # it is still connecting, or the server won't say which client it is
        if not named:
            return
        commands = [("CLIENT", "UNBLOCK", slot.link.client_id) for slot in named]
        try:
            replies = await self._control.pipeline(commands, keep_errors=True)
        except BackendError as error:
            replies = [error] * len(named)
        for slot, reply in zip(named, replies, strict=True):
            if isinstance(reply, BackendError):
                await slot.link.abort()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let `wait` raise what a loop did not expect."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._wake()

    async def _block(self, slot: _Slot) -> None:
        """Wait on one queue after the other until something is taken."""
        try:
            while not self._stopping:
                queue = self._next_queue()
                if not queue:
                    self._look_out()  # somebody paused it, say: it must be found again
                    return
                slot.queue = queue
                taken = await self._wait_once(slot.link, queue)
                slot.queue = ""
                if taken:
                    self._wake()
                    return
        except BackendUnavailableError as error:
            self._fail(error)
        finally:
            slot.queue = ""

    async def _wait_once(self, link: Link, queue: str) -> bool:
        """One wait with its claim. Whether it moved anything, or the queue can't be waited on."""
        keys = self._keys_of(queue)
        if not link.connected_at:
            await link.connect()  # what fails here was never sent, and leaves no token behind
        token = self._taker.new_token()
        move = ("BLMOVE", keys.pending, keys.active, "RIGHT", "LEFT", self._block_for)
        limit = self._block_for + min(_MARGIN, link.patience)
        sent_at = self._clock.monotonic()
        try:
            moved, reply = await link.pipeline(
                (move, self._taker.adopt(queue, self._want, token)), limit=limit, keep_errors=True
            )
        except BaseException:
            self._taker.went_unanswered((queue,), token)
            raise
        self._standing.set_memory_full(queue, moved if isinstance(moved, OutOfMemoryError) else None)
        if isinstance(moved, OutOfMemoryError):
            self.may_find = True
            return True
        if isinstance(moved, BackendError):
            await self._refused(keys, moved)
            return True
        if isinstance(reply, BackendError):
            if moved is not None:
                self._held.setdefault(queue, []).append(moved)
            await self._refused(keys, reply)
            return True
        taken = self._taker.read(reply, (queue,), token, self._clock.monotonic())
        self._adopted.extend((sent_at, task) for task in taken.tasks)
        if taken.left > 0:
            self.may_find = True
        if moved is not None and not any(task.id.encode() == moved for task in taken.tasks):
            # Where many waits end together each script takes what it finds first, and may leave its own to nobody.
            self._held.setdefault(queue, []).append(moved)
        return moved is not None or bool(taken.tasks)

    async def _refused(self, keys: QueueKeys, error: BackendError) -> None:
        if isinstance(error, BackendUnavailableError):
            raise error
        self._standing.refuse(keys.queue, await explain(self._control, keys, error))

    def _next_queue(self) -> str:
        """The queue that was waited on longest ago, of those that nobody waits on; it goes to the end of the line."""
        waited_on = {slot.queue for slot in self._slots}
        for at, queue in enumerate(self._turns):
            if queue not in waited_on and self._standing.is_waitable(queue):
                self._turns.append(self._turns.pop(at))
                return queue
        return ""
