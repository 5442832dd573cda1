"""Listens to one channel on a connection that does nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.backends.asynq.wire import Wire

_PING_EVERY = 10.0
_SILENCE = 25.0
"""Seconds without a word, after which the connection is given up: every ping is answered."""


async def listen(wire: Wire, channel: str, on_message: Callable[[bytes], None]) -> None:
    """Call `on_message` with each message that is published, until the connection is gone; closes it then.

    Raises:
        Exception: What ended it, one of `connecting.BROKEN`: a refusal, an error of the connection, or its silence.
    """
    loop = asyncio.get_running_loop()
    heard_at = loop.time()
    refused: Refusal | None = None

    def hear(reply: Any) -> None:
        nonlocal heard_at, refused
        heard_at = loop.time()
        if isinstance(reply, Refusal):
            refused = reply
            wire.abort()
        elif reply[0] == b"message":
            on_message(reply[2])

    wire.on_push = hear
    try:
        wire.send([("SUBSCRIBE", channel)])
        while loop.time() - heard_at < _SILENCE:
            await asyncio.wait([wire.lost], timeout=_PING_EVERY)
            if wire.lost.done():
                raise refused or wire.lost.result()
            wire.send([("PING",)])
        raise TimeoutError
    finally:
        wire.abort()
