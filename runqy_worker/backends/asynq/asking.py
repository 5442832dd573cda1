"""Asks Redis about many queues in one round trip; one that it refuses keeps no other from its upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.key_types import explain
from runqy_worker.domain.errors import BackendError
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runqy_worker.backends.asynq.keys import QueueKeys
    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener

_AFTER_REFUSAL = 10.0
"""Seconds until a queue that Redis refused is tried again."""


class Asking:
    """The questions of one chore.

    Args:
        chore: Its name, for notices. A refusal is told once, until it says something else or is over.
    """

    def __init__(self, chore: str, link: Link, *, listener: Listener, clock: Clock) -> None:
        self._chore = chore
        self._link = link
        self._listener = listener
        self._clock = clock
        self._refused_until: dict[QueueKeys, float] = {}
        self._told: dict[QueueKeys, str] = {}

    async def ask(self, commands: Mapping[QueueKeys, Sequence[Arg]]) -> dict[QueueKeys, Any]:
        """The reply to each queue's command, without those that Redis refuses, or refused not long ago.

        Raises:
            BackendUnavailableError: Redis can't be reached, or takes no writes now.
        """
        now = self._clock.monotonic()
        asked = [keys for keys in commands if self._refused_until.get(keys, now) <= now]
        if not asked:
            return {}
        replies = await self._link.ask([commands[keys] for keys in asked])
        answers = {}
        for keys, reply in zip(asked, replies, strict=True):
            if isinstance(reply, BackendError):
                self._refused_until[keys] = now + _AFTER_REFUSAL
                self._tell(keys, str(await explain(self._link, keys, reply)))
            else:
                answers[keys] = reply
                if self._refused_until and self._refused_until.pop(keys, None) is not None:
                    self._tell(keys, "")
        return answers

    def _tell(self, keys: QueueKeys, why: str) -> None:
        if self._told.get(keys, "") == why:
            return
        self._told[keys] = why
        fields = {"chore": self._chore, "queue": keys.queue}
        if why:
            text = f"Upkeep ({self._chore}) of {keys.queue} is not possible until this is mended: {why}"
            self._listener.notice(Notice("chore_failed", text, Level.ERROR, fields=fields))
        else:
            self._listener.notice(
                Notice("chore_resumed", f"Upkeep ({self._chore}) of {keys.queue} goes on.", fields=fields)
            )
