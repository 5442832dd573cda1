"""Connections that lose what they are told to lose, and remember what was sent over them."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from runqy_worker.backends.asynq import backend as backend_module
from runqy_worker.backends.asynq import client as client_module
from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.events import Silent

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from chaos.state_machine.lease_clock import FastClock

    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.domain.events import Listener, Notice

SCRIPTS = (
    *("adopt_plain", "audit", "claim", "enqueue", "forward", "mend", "move_task", "purge", "recover", "renew"),
    *("set_message", "settle", "steward", "sweep", "take_over"),
)


class Loss(Enum):
    """What goes wrong with one exchange."""

    REQUEST = "the request never arrived"
    REPLY = "it was done, but the answer was lost"
    PART = "half of the commands arrived and were done"


class Sent(NamedTuple):
    """One script call that reached Redis, what it answered, and since when the connection stood."""

    script: str
    keys: tuple[str, ...]
    args: tuple[Arg, ...]
    reply: Any
    connected_at: float


class Waited(NamedTuple):
    """A wait that ended with something.

    Attributes:
        moved: The id that it moved to active; None when it only found something there.
        taken: Ids that the claim sent along took, under one token.
        dropped: Ids that had no task behind them.
        known: Whether the actor heard of it.
    """

    queue: str
    moved: bytes | None
    taken: tuple[bytes, ...]
    dropped: tuple[bytes, ...]
    known: bool


class Rig(Silent):
    """One actor's connections: what they lose, and what went over them.

    Attributes:
        actor: Whose they are.
        sent: Script calls that reached Redis since the last `begin`, in order.
        lost: Whether anything was lost since then.
        waited: Waits that ended and were not yet accounted for.
        open_waits: Queues on which a wait is open now.
        notices: How often each action was told.
    """

    def __init__(self, actor: str, clock: FastClock) -> None:
        self.actor = actor
        self.clock = clock
        self.sent: list[Sent] = []
        self.lost = False
        self.waited: list[Waited] = []
        self.open_waits: list[str] = []
        self.notices: Counter[str] = Counter()
        self._loss: Loss | None = None
        self._after = 0
        self._only = ""
        self._wait_loss = False

    def begin(self, loss: Loss | None = None, after: int = 0, only: str = "") -> None:
        """An operation begins; its exchange number `after` (from 0), of those that call this script, is lost so."""
        self.sent = []
        self.lost = False
        self._loss, self._after, self._only = loss, after, only

    def lose_next_wait(self) -> None:
        """The next wait that takes something is not heard of."""
        self._wait_loss = True

    def draw(self, scripts: Container[str]) -> Loss | None:
        """What happens to the exchange that is about to begin, and calls these scripts."""
        if self._loss is None or (self._only and self._only not in scripts):
            return None
        if self._after:
            self._after -= 1
            return None
        loss, self._loss = self._loss, None
        self.lost = True
        return loss

    def draw_for_wait(self) -> bool:
        """Whether the answer to a wait that took something is lost."""
        lost, self._wait_loss = self._wait_loss, False
        return lost

    def notice(self, notice: Notice) -> None:
        self.notices[notice.action] += 1


class UnreliableLink(Link):
    """The real one, over the real network, on our clock."""

    def __init__(self, options: RedisOptions, name: str, *, listener: Listener) -> None:
        assert isinstance(listener, Rig)
        self._rig = listener
        self._made_at = 0.0
        self._names = {load(script).sha: script for script in SCRIPTS}
        super().__init__(options, name, listener=listener)

    @property
    def connected_at(self) -> float:
        return self._made_at

    @connected_at.setter
    def connected_at(self, value: float) -> None:
        """Whatever the real clock says: when it is now by ours; 0 while there is no connection."""
        self._made_at = self._rig.clock.monotonic() if value else 0.0

    async def pipeline(
        self, commands: Sequence[Sequence[Arg]], *, limit: float | None = None, keep_errors: bool = False
    ) -> list[Any]:
        if commands[0][0] == "BLMOVE":
            return await self._wait(commands, limit)
        loss = self._rig.draw({self._names[str(each[1])] for each in commands if each[0] == "EVALSHA"})
        if loss is Loss.REQUEST:
            await self.abort()
            raise BackendUnavailableError("the request was lost")
        arrived = commands[: max(1, len(commands) // 2)] if loss is Loss.PART else commands
        replies = await super().pipeline(arrived, limit=limit, keep_errors=keep_errors)
        for at, (command, reply) in enumerate(zip(arrived, replies, strict=True)):
            if command[0] == "EVALSHA":
                self._note(command, reply)
            elif command[0] == "TIME":
                seconds, micros = divmod(self._rig.clock.micros, 1_000_000)
                replies[at] = [b"%d" % seconds, b"%d" % micros]
        if loss is not None:
            await self.abort()
            raise BackendUnavailableError("the reply was lost")
        return replies

    async def _wait(self, commands: Sequence[Sequence[Arg]], limit: float | None) -> list[Any]:
        """A wait, and the claim that is sent along."""
        queue = str(commands[0][1]).split("{")[1].split("}")[0]
        self._rig.open_waits.append(queue)
        try:
            replies = await super().pipeline(commands, limit=limit, keep_errors=True)
        finally:
            self._rig.open_waits.remove(queue)
        moved, claim = replies
        found = claim[2][1:] if isinstance(claim, list) and claim[2] else [[], []]
        taken, dropped = tuple(task[2] for task in found[0]), tuple(found[1])
        if any((moved is not None, taken, dropped)):
            lost = self._rig.draw_for_wait()
            self._rig.waited.append(Waited(queue, moved, taken, dropped, not lost))
            if lost:
                await self.abort()
                raise BackendUnavailableError("the answer to a wait was lost")
        return replies

    def _note(self, command: Sequence[Arg], reply: Any) -> None:
        count = int(command[2])
        keys = tuple(str(key) for key in command[3 : 3 + count])
        self._rig.sent.append(
            Sent(self._names[str(command[1])], keys, tuple(command[3 + count :]), reply, self._made_at)
        )


@contextmanager
def unreliable_links() -> Iterator[None]:
    """Within the block, backends and clients make such connections; their listener must be a `Rig`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_module, "Link", UnreliableLink)
        patch.setattr(client_module, "Link", UnreliableLink)
        yield
