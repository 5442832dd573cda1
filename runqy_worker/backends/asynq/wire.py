"""The bytes to and from Redis: commands out in one write, replies taken from each chunk as it comes in.

One exchange at a time. It is a future that the last reply resolves, so that an exchange costs the event loop one turn
for the reply and one for whoever waits, and no timer of its own.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Any, cast

import hiredis

from runqy_worker.backends.asynq.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runqy_worker.backends.asynq.scripts import Arg

_NOT_YET = object()
_LARGE = 64 * 1024
"""Bytes of an argument that is sent as it is, instead of being copied together with the others."""
_SLACK = 0.1
"""Seconds between two looks at an answer that is coming in after its time."""
_pack: Any = hiredis.pack_command


class Wire(asyncio.Protocol):
    """One connection that stands. Make it with `connecting.open_wire`.

    Attributes:
        where: The server's address.
        client_id: What CLIENT UNBLOCK knows it by; 0 when Redis would not say.
        on_push: Called with what the server says unasked, on a connection that subscribed.
        lost: Done once the connection is gone; the result says why.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.client_id = 0
        self.on_push: Callable[[Any], None] | None = None
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Exception] = self._loop.create_future()
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[list[Any]] | None = None
        self._replies: list[Any] = []
        self._expected = 0
        self._limit = 0.0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def exchange(self, commands: Sequence[Sequence[Arg]], limit: float) -> list[Any]:
        """Send all commands and return all replies, in order; what Redis refused stands among them as a `Refusal`.

        When this raises, or is cancelled, the connection is of no use any more: `abort` it.

        Args:
            commands: The words of each.
            limit: Seconds for each reply.

        Raises:
            OSError: The connection is gone.
            TimeoutError: A reply took too long.
            hiredis.ProtocolError: What came was no reply.
        """
        if self.lost.done():
            raise self.lost.result()
        self.send(commands)
        self._replies = []
        self._expected = len(commands)
        self._limit = limit
        self._deadline = deadline = self._loop.time() + limit
        if self._timer is None or self._timer.when() > deadline:
            self._set_timer(deadline)
        waiter: asyncio.Future[list[Any]] = self._loop.create_future()
        self._waiter = waiter
        try:
            return await waiter
        finally:
            self._waiter = None

    def send(self, commands: Sequence[Sequence[Arg]]) -> None:
        """Write commands without waiting for replies."""
        assert self._transport is not None  # noqa: S101 - set before anyone gets hold of the wire
        small: list[bytes] = []
        for command in commands:
            if any(isinstance(arg, bytes) and len(arg) >= _LARGE for arg in command):
                for piece in _pieces(command):
                    if len(piece) < _LARGE:
                        small.append(piece)
                        continue
                    self._transport.write(b"".join(small))
                    self._transport.write(memoryview(piece))  # what can't be sent at once is copied once, not twice
                    small = []
            else:
                small.append(_pack(tuple(command)))
        self._transport.write(small[0] if len(small) == 1 else b"".join(small))

    def is_spoilt(self) -> bool:
        """Whether the server closed it, or said something that nobody asked for, be it still to be read."""
        return self.lost.done() or self._has_unread()

    def abort(self) -> None:
        """Close it at once; the exchange under way, if any, fails."""
        self._lose(ConnectionAbortedError("given up"))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # other loops' transports are no subclasses

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._reader.feed(data)
        gets = self._reader.gets
        before = self._expected
        try:
            while (reply := gets()) is not _NOT_YET:
                if not self._expected:
                    self._pushed(reply)
                    continue
                self._replies.append(reply)
                self._expected -= 1
                if not self._expected and self._waiter is not None:
                    waiter, self._waiter = self._waiter, None
                    if not waiter.done():
                        waiter.set_result(self._replies)
        except hiredis.ProtocolError as error:
            self._lose(error)
            self.abort()
        if 0 < self._expected < before:
            self._deadline = self._loop.time() + self._limit

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self._lose(ConnectionResetError("closed by the server"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._lose(exc or ConnectionResetError("closed by the server"))

    def _pushed(self, reply: Any) -> None:
        if self.on_push is not None:
            self.on_push(reply)
            return
        # Out of step, or a farewell: the next exchange would take it for its answer.
        self._lose(reply if isinstance(reply, Refusal) else ConnectionError("an answer that nobody asked for"))
        self.abort()

    def _lose(self, why: Exception) -> None:
        if not self.lost.done():
            self.lost.set_result(why)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(why)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._look_at_clock)

    def _look_at_clock(self) -> None:
        """One timer serves many exchanges: it is only moved when it rings."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        now = self._loop.time()
        if now >= self._deadline and not self._has_unread():
            self._waiter.set_exception(TimeoutError())
            return
        self._deadline = max(self._deadline, now + _SLACK)  # we were late, not the server: its answer is here
        self._set_timer(self._deadline)

    def _has_unread(self) -> bool:
        if self._transport is None or self._transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))


def _pieces(command: Sequence[Arg]) -> list[bytes]:
    """A command as it goes over the wire, with large arguments as they are."""
    pieces: list[bytes] = [b"*%d\r\n" % len(command)]
    for arg in command:
        raw = arg if isinstance(arg, bytes) else str(arg).encode()
        pieces += (b"$%d\r\n" % len(raw), raw, b"\r\n")
    return pieces
