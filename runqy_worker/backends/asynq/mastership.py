"""Hears from the Sentinels when another master takes over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.connecting import BROKEN, join_addr, open_sentinel
from runqy_worker.backends.asynq.subscription import listen
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.backends.asynq.link import Link
    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.domain.events import Listener

_CHANNEL = "+switch-master"
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
                await listen(wire, _CHANNEL, self._hear)
            except BROKEN as error:
                if not told:
                    text = f"Sentinel {addr} can't be heard, trying again: {str(error) or 'no answer in time'}"
                    self._listener.notice(Notice("sentinel_unavailable", text, Level.WARNING))
                told = True
            await asyncio.sleep(_TRY_AGAIN)

    def _hear(self, message: bytes) -> None:
        name, _host, _port, host, port = message.split()
        if name.decode() == self._options().sentinel_master:
            self._switch(join_addr(host, port))

    def _switch(self, addr: str) -> None:
        if addr != self._master:
            self._master = addr
            text = f"The Sentinels name another master: redis at {addr}."
            self._listener.notice(Notice("redis_master_switched", text))
        for link in self._links:
            link.follow(addr)
