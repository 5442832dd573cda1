"""Walks slowly through all task hashes and finds those that no list and no set holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.scripts import load
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    import random

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.stewardship import Stewardship
    from runqy_worker.domain.events import Listener

_KEYS_PER_ROUND = 50
_LONGEST_LIST = 10_000
"""Lists longer than this are not searched: that would hold up the server for others."""
_KEEP_COMPLETED = 86400


class Auditing:
    """The chore: a few keys every `every` seconds, so that it costs next to nothing and ends some day.

    A worker of another kind may hold a task in no list for an instant, so only what two looks found is put back.
    """

    def __init__(
        self,
        stewardship: Stewardship,
        link: Link,
        *,
        every: float,
        listener: Listener,
        rng: random.Random,
    ) -> None:
        self._stewardship = stewardship
        self._link = link
        self._every = every
        self._listener = listener
        self._rng = rng
        self._script = load("audit")
        self._cursor = b"0"
        self._suspects: dict[QueueKeys, list[bytes]] = {}

    async def run(self) -> float:
        """Repair what was found lost before and still is, then look at the next few keys. Returns seconds to wait."""
        queues = await self._stewardship.held()
        if queues:
            suspects, self._suspects = self._suspects, {}
            for keys, ids in suspects.items():
                if keys in queues:
                    self._tell(keys, await self._look(keys, ids, repair=True))
            for keys, ids in (await self._next_ids(queues)).items():
                lost = await self._look(keys, ids, repair=False)
                if lost:
                    self._suspects[keys] = lost
        return self._every * self._rng.uniform(1.0, 1.3)

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

    async def _look(self, keys: QueueKeys, ids: list[bytes], *, repair: bool) -> list[bytes]:
        """Those of `ids` that nothing holds."""
        lists = (keys.pending, keys.active)
        sets = (keys.scheduled, keys.retry, keys.archived, keys.completed)
        arguments: list[Arg] = [keys.task_prefix, int(repair), _LONGEST_LIST, _KEEP_COMPLETED, *ids]
        lost: list[bytes] = await self._link.call(*self._script.command((*lists, *sets), arguments))
        return lost

    def _tell(self, keys: QueueKeys, ids: list[bytes]) -> None:
        if ids:
            shown = [task_id.decode(errors="replace") for task_id in ids[:5]]
            self._listener.notice(
                Notice(
                    "audit_repaired",
                    f"{len(ids)} tasks of {keys.queue} were in no list; they are back in place: {', '.join(shown)}",
                    Level.WARNING,
                    fields={"queue": keys.queue, "count": len(ids), "ids": shown},
                )
            )
