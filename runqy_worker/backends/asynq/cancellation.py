"""Hears which running tasks are to be cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.connecting import BROKEN, open_wire
from runqy_worker.backends.asynq.errors import Refusal, translate
from runqy_worker.backends.asynq.keys import CANCEL_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.backends.asynq.options import RedisOptions

_PING_EVERY = 10.0
_SILENCE = 25.0
"""Seconds without a word, after which the connection is given up: every ping is answered."""


class Cancellations:
    """A subscription on a connection of its own.

    Args:
        options: How to connect; asked at every connect, since credentials change.
    """

    def __init__(self, options: Callable[[], RedisOptions]) -> None:
        self._options = options

    async def listen(self, on_cancel: Callable[[str], None]) -> None:
        """Call `on_cancel` with each task id that is published, until cancelled.

        Raises:
            BackendUnavailableError: The connection is gone, or can't be made. Call again to go on.
        """
        options = self._options()
        loop = asyncio.get_running_loop()
        try:
            wire = await open_wire(options, "cancel")
        except BROKEN as error:
            raise translate(error, options.addr) from None
        refused: Refusal | None = None
        heard_at = loop.time()

        def hear(reply: Any) -> None:
            nonlocal heard_at, refused
            heard_at = loop.time()
            if isinstance(reply, Refusal):
                refused = reply
                wire.abort()
            elif reply[0] == b"message":
                on_cancel(reply[2].decode(errors="replace"))

        wire.on_push = hear
        try:
            wire.send([("SUBSCRIBE", CANCEL_CHANNEL)])
            while loop.time() - heard_at < _SILENCE:
                await asyncio.wait([wire.lost], timeout=_PING_EVERY)
                if wire.lost.done():
                    raise translate(refused or wire.lost.result(), wire.where)
                wire.send([("PING",)])
            raise translate(TimeoutError(), wire.where)
        finally:
            wire.abort()
