"""The claim script: how it is called, and what its answer says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runqy_worker.backends.asynq.codec import CodecError
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.records import TaskReader
    from runqy_worker.backends.asynq.repairs import Repairs
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.standing import Standing
    from runqy_worker.domain.task import Task


MOST_UNANSWERED = 100
"""Tokens per queue that are looked for."""


class Taken(NamedTuple):
    """What a call of the script gave.

    Attributes:
        tasks: In order.
        looked: How many of the queues it looked at; the rest was not needed.
        paused: Whether it passed over a queue because that is paused.
        left: Tasks that are left in the queue that it looked at last.
    """

    tasks: list[Task]
    looked: int
    paused: bool
    left: int


class Taker:
    """Calls the claim script, and remembers the tokens of calls that got no answer: they may have taken tasks.

    Args:
        keys_of: The keys of a queue.
        repairs: Looks after tasks that are not as asynq stores them.
        owner: Begins every token; no other claimer may ever use it.
        lease_seconds: How long a claim lasts.

    Attributes:
        unanswered: Queue name -> tokens under which tasks may be held that nobody here knows of.
    """

    def __init__(
        self,
        keys_of: Callable[[str], QueueKeys],
        *,
        standing: Standing,
        repairs: Repairs,
        reader: TaskReader,
        owner: str,
        lease_seconds: float,
    ) -> None:
        self.unanswered: dict[str, list[str]] = {}
        self._keys_of = keys_of
        self._standing = standing
        self._repairs = repairs
        self._reader = reader
        self._owner = owner
        self._lease_ms = int(lease_seconds * 1000)
        self._script = load("claim")
        self._is_empty = load("is_empty")
        self._count = 0

    def new_token(self) -> str:
        """A token that no claim had before."""
        self._count += 1
        return f"{self._owner}{self._count}"

    def take(self, queues: Sequence[str], want: int, token: str) -> tuple[Arg, ...]:
        """Take up to `want` from the queues, in their order."""
        return self._script.command([self._keys_of(queue).pending for queue in queues], (want, token, self._lease_ms))

    def adopt(self, queue: str, want: int, token: str) -> tuple[Arg, ...]:
        """To be sent together with a wait: take what that moved, and up to `want` in all."""
        return self._script.command((self._keys_of(queue).pending,), (want, token, self._lease_ms, 1))

    def clear_up(
        self, queue: str, want: int, token: str, unanswered: Sequence[str], held: Sequence[bytes]
    ) -> tuple[Arg, ...]:
        """Take first what unanswered claims took and what waits hold, up to `want` in all; give back the rest."""
        arguments: tuple[Arg, ...] = (want, token, self._lease_ms, 0, len(unanswered), *unanswered, *held)
        return self._script.command((self._keys_of(queue).pending,), arguments)

    def is_empty(self, queues: Sequence[str]) -> tuple[Arg, ...]:
        """To ask whether nothing waits in these queues, nor is held under a token of ours."""
        return self._is_empty.command([self._keys_of(queue).pending for queue in queues], (self._owner,))

    def went_unanswered(self, queues: Sequence[str], token: str) -> None:
        """A call got no answer, or one that came too late to be trusted.

        Of very many only the last are kept: what an older one took is recovered when its lease has run out.
        """
        for queue in queues:
            tokens = self.unanswered.setdefault(queue, [])
            tokens.append(token)
            del tokens[:-MOST_UNANSWERED]

    def answered(self, tokens: Mapping[str, Sequence[str]]) -> None:
        """What was taken under these tokens of these queues has been found, or does not exist."""
        for queue, found in tokens.items():
            left = [token for token in self.unanswered.pop(queue, ()) if token not in found]
            if left:
                self.unanswered[queue] = left

    def read(self, reply: Any, queues: Sequence[str], token: str, claimed_at: float) -> Taken:
        """What the script's reply says; `queues` are those that it was called with."""
        looked, paused, claims, refusals, left = reply
        self._note_pauses(queues[:looked], paused)
        tasks: list[Task] = []
        for at in range(0, len(claims), 4):
            queue = queues[claims[at] - 1]
            self._read_claim(tasks, queue, claims[at + 1], token, claimed_at)
            if self._standing.any_refused:
                self._standing.serve(queue)
            if claims[at + 2]:
                self._repairs.tell_dropped(queue, claims[at + 2])
            if claims[at + 3]:
                self._repairs.tell_doubled(queue, claims[at + 3])
        for at in range(0, len(refusals), 2):
            said = refusals[at + 1].decode(errors="replace")
            self._standing.refuse(queues[refusals[at] - 1], BackendError(said))
        return Taken(tasks, looked, bool(paused), left)

    def _note_pauses(self, looked_at: Sequence[str], paused: Sequence[int]) -> None:
        standing = self._standing
        if paused or standing.any_paused:
            for number, queue in enumerate(looked_at, 1):
                standing.set_paused(queue, paused=number in paused)

    def _read_claim(self, tasks: list[Task], queue: str, found: list[Any], token: str, claimed_at: float) -> None:
        read = self._reader.read
        for claimed in found:
            try:
                task = read(claimed, queue, token, claimed_at)
            except CodecError as error:
                self._repairs.add_unreadable(queue, claimed[2], token, str(error))
                continue
            tasks.append(task)
            if not task.record.stored:  # type: ignore[attr-defined]  # the reader makes records
                self._repairs.add_unwritten(task, misnamed=claimed[0] is not None)
