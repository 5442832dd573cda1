"""A TCP proxy that does to connections what networks do: delay, cut, fall silent, lose the answer to a command.

It runs in a thread of its own, so that a test may block while real worker processes go through it. Its methods may be
called from any thread, and have taken effect when they return.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LOSE = float("inf")
"""The answer never arrives, and its connection is cut."""
_HIGH_WATER = 1 << 20
_REMEMBERED = 1 << 16
"""Bytes of a request that are shown to `on_reply`."""


class TcpProxy:
    """Forwards to a port on loopback.

    Args:
        target: The port.
        seed: Of the proxy's own random choices (jitter; how a connection is cut).

    Attributes:
        on_reply: Called in the proxy's thread with the bytes that a client sent since the answer before, when the
            first of the answer to them has come, so that the server has executed them. Returns seconds by which to
            delay the answer: 0 lets it pass, `LOSE` cuts the client off and leaves the server unaware.
        counts: What was done: `connections`, `cuts`, `lost`, `delayed`.
    """

    def __init__(self, target: int, *, seed: int = 0) -> None:
        self._target = target
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._latency = (0.0, 0.0)
        self._dark = False
        self._next_lost = b""
        self.on_reply: Callable[[bytes], float] | None = None
        self.counts: Counter[str] = Counter()

    @property
    def addr(self) -> str:
        """host:port."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def set_latency(self, low: float, high: float) -> None:
        """Each piece of data takes so many seconds in each direction; order is kept."""
        self._latency = (low, high)

    def lose_reply_to(self, marker: bytes) -> None:
        """Lose the answer to the next command whose bytes contain `marker`; empty: to none."""
        self._next_lost = marker

    def count(self) -> int:
        """Connections that stand."""
        return self._do(lambda: len(self._pairs))

    def cut(self, share: float = 1.0) -> int:
        """Cut connections, each with this chance: half of them with RST, half with FIN. Returns how many."""

        def work() -> int:
            doomed = [pair for pair in self._pairs if self._rng.random() < share]
            for pair in doomed:
                pair.cut(reset=self._rng.random() < 0.5)
            self.counts["cuts"] += len(doomed)
            return len(doomed)

        return self._do(work)

    def freeze(
        self,
        share: float = 1.0,
        *,
        requests: bool = True,
        replies: bool = True,
        dark: bool = False,
        saying: bytes = b"",
    ) -> int:
        """Go half-open: forward nothing on connections, each with this chance, and close none. Returns how many.

        Args:
            share: The chance.
            requests: What clients send stays on the way.
            replies: What the server sends stays on the way.
            dark: Also let new connections, until `thaw`, get no answer.
            saying: Only connections whose last request contains this.
        """

        def work() -> int:
            self._dark = self._dark or dark
            chosen = [pair for pair in self._pairs if saying in pair.asked and self._rng.random() < share]
            for pair in chosen:
                pair.freeze(requests=requests, replies=replies)
            return len(chosen)

        return self._do(work)

    def thaw(self) -> None:
        """All that stayed on the way arrives now, also what was sent by those who gave up meanwhile."""

        def work() -> None:
            self._dark = False
            for pair in list(self._pairs):
                pair.thaw()

        self._do(work)

    def __enter__(self) -> Self:
        self._thread.start()

        async def listen() -> None:
            self._server = await self._loop.create_server(lambda: _End(self._welcome()), "127.0.0.1", 0)

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)
        return self

    def __exit__(self, *_exc: object) -> None:
        async def end() -> None:
            assert self._server is not None
            self._server.close()
            for pair in list(self._pairs):
                pair.cut(reset=True)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)  # the transports say goodbye

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def judge(self, asked: bytes, answer: bytes) -> float:
        """What becomes of the answer to these bytes: see `on_reply`. That a script is not known is no execution."""
        if answer.startswith(b"-NOSCRIPT"):
            return 0.0
        marker = self._next_lost
        if marker and marker in asked:
            self._next_lost = b""
            delay = LOSE
        else:
            delay = self.on_reply(asked) if self.on_reply is not None else 0.0
        if delay:
            self.counts["lost" if delay == LOSE else "delayed"] += 1
        return delay

    def jitter(self) -> float:
        """Seconds that one piece of data takes now."""
        return self._rng.uniform(*self._latency) if self._latency[1] else 0.0

    def connect(self, pair: _Pair) -> None:
        """Reach for the server."""
        asyncio.ensure_future(self._connect(pair), loop=self._loop)  # noqa: RUF006 - the pair lives in the set

    def forget(self, pair: _Pair) -> None:
        """It is over."""
        self._pairs.discard(pair)

    def _welcome(self) -> _Pair:
        pair = _Pair(self, self._loop, dark=self._dark)
        self._pairs.add(pair)
        self.counts["connections"] += 1
        return pair

    async def _connect(self, pair: _Pair) -> None:
        try:
            await self._loop.create_connection(lambda: _End(pair, is_server=True), "127.0.0.1", self._target)
        except OSError:
            pair.cut(reset=True)

    def _do(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)


class _Way:
    """One direction of a connection: data, then perhaps its end, each no earlier than it is due.

    Attributes:
        closed: Nothing more will come.
        target: Where it leads to; data waits for it.
        frozen: Data stays on the way.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Callable[[asyncio.Transport], None]) -> None:
        self._loop = loop
        self._end = end
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.closed = False
        self.target: asyncio.Transport | None = None
        self.frozen = False

    def put(self, data: bytes | None, delay: float) -> None:
        """Forward data, or its end (None), after so many seconds. Nothing follows an end."""
        if self.closed:
            return
        self.closed = data is None
        self._due = max(self._due, self._loop.time() + delay)
        self._queue.append((self._due, data))
        self.flush()

    def flush(self) -> None:
        """Forward all that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and self.target is not None and not self.frozen:
            due, data = self._queue[0]
            if due > self._loop.time():
                self._timer = self._loop.call_at(due, self.flush)
                return
            self._queue.popleft()
            if self.target.is_closing():
                continue
            if data is None:
                self._end(self.target)
            else:
                self.target.write(data)

    def drop(self) -> None:
        """Forward nothing any more."""
        self.closed = True
        self._queue.clear()
        self.flush()


class _Pair:
    """A client's connection and the one to the server that it leads to.

    Attributes:
        asked: What the client sent since the last answer.
    """

    def __init__(self, proxy: TcpProxy, loop: asyncio.AbstractEventLoop, *, dark: bool) -> None:
        self._proxy = proxy
        self._client: asyncio.Transport | None = None
        self._server: asyncio.Transport | None = None
        self._requests = _Way(loop, lambda server: server.write_eof())  # the server may still have much to read
        self._replies = _Way(loop, lambda client: client.close())
        self._answered = False
        self._dark = dark
        self._gone = False
        self.asked = bytearray()
        if not dark:
            proxy.connect(self)

    def joined(self, transport: asyncio.Transport, *, is_server: bool) -> None:
        """One end stands."""
        transport.set_write_buffer_limits(_HIGH_WATER)
        if not is_server:
            self._client = self._replies.target = transport
        elif self._gone:
            transport.abort()
        else:
            self._server = self._requests.target = transport
            self._requests.flush()

    def received(self, data: bytes, *, is_server: bool) -> None:
        """Data from one end, for the other."""
        if not is_server:
            if self._answered:
                self._answered = False
                self.asked.clear()
            self.asked += data[: _REMEMBERED - len(self.asked)]
            self._requests.put(data, self._proxy.jitter())
            return
        delay = 0.0
        if not self._answered:
            self._answered = True
            delay = self._proxy.judge(bytes(self.asked), data)
            if delay == LOSE:
                self._lose()
                return
        self._replies.put(data, delay + self._proxy.jitter())

    def ended(self, *, is_server: bool) -> None:
        """One end says no more."""
        way = self._replies if is_server else self._requests
        way.put(None, self._proxy.jitter())

    def lost(self, *, is_server: bool) -> None:
        """One end is gone."""
        self.ended(is_server=is_server)
        if is_server:
            self._server = None
            self._requests.drop()
        else:
            self._client = None
            self._replies.drop()
        if self._client is None and (self._server is None or self._dark):
            self._over()

    def pressed(self, *, is_server: bool, full: bool) -> None:
        """One end takes no more for now, or takes more again."""
        source = self._client if is_server else self._server
        if source is not None and not source.is_closing():
            if full:
                source.pause_reading()
            else:
                source.resume_reading()

    def freeze(self, *, requests: bool, replies: bool) -> None:
        """Forward nothing in these directions."""
        self._requests.frozen = self._requests.frozen or requests
        self._replies.frozen = self._replies.frozen or replies

    def thaw(self) -> None:
        """Forward what stayed behind. A connection that never stood comes about, unless its client gave up."""
        self._requests.frozen = self._replies.frozen = False
        if self._dark:
            self._dark = False
            if self._requests.closed:
                self.cut(reset=True)
            else:
                self._proxy.connect(self)
        self._requests.flush()
        self._replies.flush()

    def cut(self, *, reset: bool) -> None:
        """Cut both ends."""
        self._over()
        for transport in (self._client, self._server):
            if transport is not None:
                _close(transport, reset=reset)

    def _lose(self) -> None:
        """Cut the client off. The server has all the time to do what it was asked."""
        self._requests.put(None, self._proxy.jitter())
        self._replies.drop()
        if self._client is not None:
            _close(self._client, reset=True)

    def _over(self) -> None:
        self._gone = True
        self._requests.drop()
        self._replies.drop()
        self._proxy.forget(self)


class _End(asyncio.Protocol):
    """One end of a pair."""

    def __init__(self, pair: _Pair, *, is_server: bool = False) -> None:
        self._pair = pair
        self._is_server = is_server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._pair.joined(transport, is_server=self._is_server)

    def data_received(self, data: bytes) -> None:
        self._pair.received(data, is_server=self._is_server)

    def eof_received(self) -> bool:
        self._pair.ended(is_server=self._is_server)
        return not self._is_server  # replies may still be on their way to the client

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.lost(is_server=self._is_server)

    def pause_writing(self) -> None:
        self._pair.pressed(is_server=self._is_server, full=True)

    def resume_writing(self) -> None:
        self._pair.pressed(is_server=self._is_server, full=False)


def _close(transport: asyncio.Transport, *, reset: bool) -> None:
    """End a connection with RST, whatever is still on its way, or with FIN."""
    if not reset:
        transport.close()
        return
    raw = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
