"""Hears from the Sentinels when another master takes over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.connecting import BROKEN, join_addr, open_sentinel
from runqy_worker.backends.asynq.errors import Refusal
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.backends.asynq.wire import Wire
    from runqy_worker.domain.events import Listener

_CHANNEL = "+switch-master"
_PING_EVERY = 10.0
_SILENCE = 25.0
"""Seconds without a word, after which a Sentinel is given up: every ping is answered."""
_TRY_AGAIN = 2.0


class Mastership:
    """Leaves the old master at once when the Sentinels name another.

    The old one may be up and take writes for ten seconds more, until it is told that it is a replica now. All of these
    writes are lost then: what was settled there runs again.

    Args:
        options: Where the Sentinels are; asked at every connect.
        links: The connections to the master.
    """

    def __init__(self, options: Callable[[], RedisOptions], links: Sequence[Link], listener: Listener) -> None:
        self._options = options
        self._links = links
        self._listener = listener
        self._master = ""

    async def watch(self) -> None:
        """Listen to all Sentinels, for ever. One that can't be heard is tried again and again."""
        hearing = [asyncio.create_task(self._listen(addr)) for addr in self._options().sentinel_addrs]
        try:
            await asyncio.gather(*hearing)
        finally:
            for task in hearing:
                task.cancel()
            await asyncio.gather(*hearing, return_exceptions=True)

    async def _listen(self, addr: str) -> None:
        told = False
        while True:
            try:
                options = self._options()
                wire = await open_sentinel(options, addr, options.connect_timeout)
                told = False
                await self._hear(wire)
            except BROKEN as error:
                if not told:
                    text = f"Sentinel {addr} can't be heard, trying again: {str(error) or 'no answer in time'}"
                    self._listener.notice(Notice("sentinel_unavailable", text, Level.WARNING))
                told = True
            await asyncio.sleep(_TRY_AGAIN)

    async def _hear(self, wire: Wire) -> None:
        """Until the connection is gone; raises why."""
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
                name, _host, _port, host, port = reply[2].split()
                if name.decode() == self._options().sentinel_master:
                    self._switch(join_addr(host, port))

        wire.on_push = hear
        try:
            wire.send([("SUBSCRIBE", _CHANNEL)])
            while loop.time() - heard_at < _SILENCE:
                await asyncio.wait([wire.lost], timeout=_PING_EVERY)
                if wire.lost.done():
                    raise refused or wire.lost.result()
                wire.send([("PING",)])
            raise TimeoutError
        finally:
            wire.abort()

    def _switch(self, addr: str) -> None:
        if addr != self._master:
            self._master = addr
            text = f"The Sentinels name another master: redis at {addr}."
            self._listener.notice(Notice("redis_master_switched", text))
        for link in self._links:
            link.follow(addr)
