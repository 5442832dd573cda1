"""Waits for tasks without polling, and wakes one worker per task.

Each wait is a `BLMOVE pending active`: what it takes hold of lies in active without a lease until the next claim
adopts it. Should that claim never come, the sweep of ids in active without a lease puts it back.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.standing import Standing

LONGEST_BLOCK = 5.0
"""Seconds that one wait may block, so that a worker that died takes no task for longer."""
_TURN = 1.0
"""Seconds that a queue is waited on where queues take turns, and between two looks at those not waited on."""
_MARGIN = 5.0
"""Seconds beyond the block after which a silent connection is given up."""
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
        links: One connection per wait; queues beyond their number take turns.
        control: A connection that does not block, to end waits early and to look at queues not waited on.
        keys_of: The keys of a queue.
        queues: The queues to wait on.
        standing: Which of them are open.
    """

    def __init__(
        self,
        links: Sequence[Link],
        control: Link,
        keys_of: Callable[[str], QueueKeys],
        queues: Sequence[str],
        standing: Standing,
    ) -> None:
        self._slots = [_Slot(link) for link in links]
        self._control = control
        self._keys_of = keys_of
        self._turns = list(queues)
        self._standing = standing
        self._held: dict[str, list[bytes]] = {}
        self._something = asyncio.Event()
        self._stopped = asyncio.Event()
        self._failure: BaseException | None = None
        self._watch: asyncio.Task[None] | None = None

    def set_queues(self, queues: Sequence[str]) -> None:
        """Wait on these from now on. A wait that is open on another ends by itself, and what it gets is given back."""
        self._turns = [queue for queue in self._turns if queue in queues]
        self._turns += [queue for queue in queues if queue not in self._turns]

    def take(self) -> dict[str, list[bytes]]:
        """Hand over what waits took hold of, by queue, oldest first."""
        held, self._held = self._held, {}
        return held

    def put_back(self, held: Mapping[str, list[bytes]]) -> None:
        """Keep for the next claim what `take` handed over."""
        for queue, ids in held.items():
            self._held[queue] = ids + self._held.get(queue, [])

    async def wait(self) -> None:
        """Return when something is held, or may be found. May be cancelled; the waits stay open.

        Raises:
            BackendUnavailableError: A wait was cut off.
        """
        if self._held:
            return
        self._something.clear()
        self._failure = None
        self._stopped.clear()
        for slot in self._slots[: len(self._turns)]:
            if not slot.is_busy():
                slot.work = self._start(self._block(slot))
        if not self._is_covered() and (self._watch is None or self._watch.done()):
            self._watch = self._start(self._look())
        await self._something.wait()
        self._raise_failure()

    def _is_covered(self) -> bool:
        """Whether a connection can wait on each of the queues."""
        return len(self._turns) <= len(self._slots) and all(map(self._standing.is_open, self._turns))

    def _raise_failure(self) -> None:
        if self._failure is not None and not self._held:
            raise self._failure

    async def stop(self) -> None:
        """End all waits, also a `wait` under way, and return when nothing can be taken hold of any more.

        A wait that can't be ended in an orderly way is cut off.
        """
        self._stopped.set()
        self._something.set()
        pause = _UNBLOCK_AGAIN
        while working := [slot for slot in self._slots if slot.is_busy()]:
            await self._unblock(working)
            await asyncio.wait([slot.work for slot in working if slot.work is not None], timeout=pause)
            pause = min(pause * 2, 1.0)  # the command may not have reached the server when we asked to end it
        if self._watch is not None:
            await asyncio.wait([self._watch])

    async def close(self) -> None:
        """End all waits and disconnect."""
        await self.stop()
        for slot in self._slots:
            await slot.link.close()

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
            self._failure = error
            self._something.set()

    async def _block(self, slot: _Slot) -> None:
        """Wait on one queue after the other until something is held."""
        try:
            while not self._stopped.is_set():
                queue = self._next_queue()
                if not queue:
                    return
                slot.queue = queue
                keys = self._keys_of(queue)
                crowded = sum(map(self._standing.is_open, self._turns)) > len(self._slots)
                block = _TURN if crowded else LONGEST_BLOCK
                reply = await slot.link.call(
                    *("BLMOVE", keys.pending, keys.active, "RIGHT", "LEFT", block), limit=block + _MARGIN
                )
                slot.queue = ""
                if reply is not None:
                    self._held.setdefault(queue, []).append(reply)
                    self._something.set()
                    return
        except BackendUnavailableError as error:
            self._failure = error
            self._something.set()
        except BackendError as error:
            self._standing.refuse(slot.queue, error)
            self._something.set()
        finally:
            slot.queue = ""

    def _next_queue(self) -> str:
        """The queue that was waited on longest ago, of those that nobody waits on; it goes to the end of the line."""
        waited_on = {slot.queue for slot in self._slots}
        for at, queue in enumerate(self._turns):
            if queue not in waited_on and self._standing.is_open(queue):
                self._turns.append(self._turns.pop(at))
                return queue
        return ""

    async def _look(self) -> None:
        """About every second, look at what no connection waits on: paused queues, and those beyond the slots."""
        try:
            while not self._stopped.is_set() and not self._is_covered():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TURN):
                        await self._stopped.wait()
                if not self._stopped.is_set() and await self._find():
                    self._something.set()
        except BackendUnavailableError as error:
            self._failure = error
            self._something.set()

    async def _find(self) -> bool:
        """Whether a queue that nobody waits on can be claimed from."""
        waited_on = {slot.queue for slot in self._slots}
        queues = [queue for queue in self._turns if queue not in waited_on]
        if not queues:
            return False
        commands: list[tuple[str, str]] = []
        for queue in queues:
            keys = self._keys_of(queue)
            commands += (("EXISTS", keys.paused), ("LLEN", keys.pending))
        replies = await self._control.pipeline(commands, keep_errors=True)
        found = False
        for at, queue in enumerate(queues):
            paused, length = replies[2 * at : 2 * at + 2]
            was_paused = self._standing.is_paused(queue)
            if isinstance(paused, int):
                self._standing.set_paused(queue, paused=bool(paused))
            if self._standing.is_open(queue) and (was_paused or (isinstance(length, int) and length > 0)):
                found = True
        return found
