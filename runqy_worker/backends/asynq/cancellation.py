"""Hears which running tasks are to be cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from runqy_worker.backends.asynq.connecting import discard, open_connection
from runqy_worker.backends.asynq.errors import translate
from runqy_worker.backends.asynq.keys import CANCEL_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection

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
        try:
            opened = await open_connection(options, "cancel")
        except (RedisError, OSError, TimeoutError) as error:
            raise translate(error, options.addr) from None
        connection = opened.connection
        pings = asyncio.get_running_loop().create_task(_ping(connection))
        try:
            await connection.send_command("SUBSCRIBE", CANCEL_CHANNEL, check_health=False)
            while True:
                async with asyncio.timeout(_SILENCE):
                    reply = await connection.read_response(disable_decoding=True)
                if reply[0] == b"message":
                    on_cancel(reply[2].decode(errors="replace"))
        except (RedisError, OSError, TimeoutError) as error:
            raise translate(error, opened.where) from None
        finally:
            pings.cancel()
            await asyncio.gather(pings, return_exceptions=True)
            await discard(connection)


async def _ping(connection: AbstractConnection) -> None:
    """Have the server speak now and then, so that silence means that it is gone."""
    while True:
        await asyncio.sleep(_PING_EVERY)
        await connection.send_command("PING", check_health=False)
