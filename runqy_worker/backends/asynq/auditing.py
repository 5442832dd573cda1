"""Walks slowly through all task hashes and finds those that are in no place, or not in the one that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.asking import Asking
from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.stewardship import Stewardship
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_KEYS_PER_ROUND = 500
_KEYS_PER_CALL = 100
"""Redis does nothing else during a call."""
_LONGEST_LIST = 10_000
"""Lists longer than this are not searched: that would hold up the server for others."""
_KEEP_COMPLETED = 86400


class Auditing:
    """The chore: some keys every `every` seconds, so that it costs next to nothing and comes round some day.

    A worker of another kind may hold a task in no list for an instant, so only what two looks found is put back.

    Args:
        every: Seconds between two rounds.
        again: Seconds between two looks at what seems to be lost.
    """

    def __init__(
        self,
        stewardship: Stewardship,
        link: Link,
        *,
        every: float,
        again: float,
        listener: Listener,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._stewardship = stewardship
        self._link = link
        self._asking = Asking("auditing", link, listener=listener, clock=clock)
        self._every = every
        self._again = again
        self._listener = listener
        self._rng = rng
        self._script = load("audit")
        self._cursor = b"0"
        self._suspects: dict[QueueKeys, list[bytes]] = {}

    async def run(self) -> float:
        """Repair what was found lost before and still is, then look at the next keys. Returns seconds to wait."""
        queues = await self._stewardship.held()
        suspects, self._suspects = self._suspects, {}
        if queues:
            for keys, ids in suspects.items():
                if keys in queues:
                    self._tell(keys, *await self._look(keys, ids, repair=True))
            for keys, ids in (await self._next_ids(queues)).items():
                lost, _ = await self._look(keys, ids, repair=False)
                if lost:
                    self._suspects[keys] = lost
        return (self._again if self._suspects else self._every) * self._rng.uniform(1.0, 1.3)

    async def _next_ids(self, queues: list[QueueKeys]) -> dict[QueueKeys, list[bytes]]:
        self._cursor, names = await self._link.call(
            "SCAN", self._cursor, "MATCH", "asynq:{*}:t:*", "COUNT", _KEYS_PER_ROUND, "TYPE", "hash"
        )
        ours = {keys.task_prefix.encode(): keys for keys in queues}
        found: dict[QueueKeys, list[bytes]] = {}
        for name in names:
            end = name.find(b"}:t:") + len(b"}:t:")
            keys = ours.get(name[:end])
            if keys is not None:
                found.setdefault(keys, []).append(name[end:])
        return found

    async def _look(self, keys: QueueKeys, ids: Sequence[bytes], *, repair: bool) -> tuple[list[bytes], list[bytes]]:
        """Those of `ids` that are not in place, and those of them that nothing is left of."""
        lost: list[bytes] = []
        empty: list[bytes] = []
        for at in range(0, len(ids), _KEYS_PER_CALL):
            command = self._command(keys, ids[at : at + _KEYS_PER_CALL], repair=repair)
            found = (await self._asking.ask({keys: command})).get(keys, ((), ()))
            lost += found[0]
            empty += found[1]
        return lost, empty

    def _command(self, keys: QueueKeys, ids: Sequence[bytes], *, repair: bool) -> tuple[Arg, ...]:
        names = (
            *(keys.pending, keys.active, keys.scheduled, keys.retry, keys.archived, keys.completed),
            *(keys.lease, keys.groups, f"{keys.prefix}aggregation_sets"),
        )
        head = (keys.task_prefix, int(repair), _LONGEST_LIST, _KEEP_COMPLETED, keys.group(""))
        return self._script.command(names, (*head, *ids))

    def _tell(self, keys: QueueKeys, lost: list[bytes], empty: list[bytes]) -> None:
        for ids, what in (
            ([task_id for task_id in lost if task_id not in empty], "were not in place and are again"),
            (empty, "were empty, in no list, and are deleted"),
        ):
            if ids:
                shown = [task_id.decode(errors="replace") for task_id in ids[:5]]
                self._listener.notice(
                    Notice(
                        "audit_repaired",
                        f"{len(ids)} tasks of {keys.queue} {what}: {', '.join(shown)}",
                        Level.WARNING,
                        fields={"queue": keys.queue, "count": len(ids), "ids": shown},
                    )
                )
