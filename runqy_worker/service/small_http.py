"""Answers GET and HEAD on the event loop, one request per connection; sizes, numbers and waits are all bounded.

For a few paths that machines ask for. Whoever is slow, sends too much or comes with too many connections loses its own
and harms nobody else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runqy_worker.domain.events import Listener

LARGEST_REQUEST = 8 * 1024
"""Bytes of a request's line and headers."""
MOST_CONNECTIONS = 64
"""Connections at a time; further ones are told so."""
REQUEST_PATIENCE = 5.0
"""Seconds from the connection to the end of its request."""
ANSWER_PATIENCE = 10.0
"""Seconds from the request until its answer must have been taken."""
TEXT = "text/plain; charset=utf-8"
_END = b"\r\n\r\n"
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked; `headers` by name in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


class UnreadableRequestError(Exception):
    """What came is no HTTP request."""


class SmallHttp:
    """Serves connections; `connection` is the protocol factory for the event loop's servers.

    Args:
        answer: Awaited for each GET or HEAD.
        listener: Hears of faults in `answer`.
    """

    def __init__(self, answer: Callable[[Request], Awaitable[Response]], listener: Listener) -> None:
        self._answer = answer
        self._listener = listener
        self._open: set[_Connection] = set()

    def connection(self) -> asyncio.Protocol:
        """For one connection."""
        return _Connection(self)

    def close(self) -> None:
        """Drop every connection."""
        for connection in list(self._open):
            connection.drop()

    def admit(self, connection: _Connection) -> bool:
        """Whether there is room for one more."""
        self._open.add(connection)
        return len(self._open) <= MOST_CONNECTIONS

    def gone(self, connection: _Connection) -> None:
        """It is over."""
        self._open.discard(connection)

    async def respond(self, request: Request) -> Response:
        """The answer. A fault in it is told to the log and, without details, to the caller."""
        if request.method not in _METHODS:
            text = f"{request.method} is not answered here, only GET and HEAD\n"
            return Response(HTTPStatus.METHOD_NOT_ALLOWED, text.encode(), headers={"Allow": ", ".join(_METHODS)})
        try:
            return await self._answer(request)
        except Exception as error:  # noqa: BLE001 - the boundary of one request: tasks must go on whatever it met
            message = f"a fault in answering {request.path}: {error!r}"
            self._listener.notice(Notice("health_fault", message, Level.ERROR, fields={"path": request.path}))
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, b"a fault of the worker, see its log\n")


class _Connection(asyncio.Protocol):
    """Reads one request, writes one answer, waits until the other side has it, and closes."""

    def __init__(self, server: SmallHttp) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None
        self._read = False
        self._answered = False
        self._hears_no_more = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._set_timer(REQUEST_PATIENCE, self._too_slow)
        if not self._server.admit(self):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, f"more than {MOST_CONNECTIONS} connections at a time")

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. What follows the request is not looked at."""
        if self._read:
            return
        searched = max(0, len(self._received) - len(_END))
        self._received += data
        end = self._received.find(_END, searched)
        if end > LARGEST_REQUEST or (end < 0 and len(self._received) > LARGEST_REQUEST):
            text = f"the request is longer than {LARGEST_REQUEST} bytes"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)
        elif end >= 0:
            self._read = True
            try:
                request = parse(bytes(self._received[:end]))
            except UnreadableRequestError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            else:
                self._set_timer(ANSWER_PATIENCE, self.drop)
                self._work = self._loop.create_task(self._respond(request))

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. Who has sent its request may say at once that it will send no more."""
        self._hears_no_more = True
        return self._read and not self._answered

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went is the caller's affair
        """See `asyncio.Protocol`."""
        self._server.gone(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()

    def drop(self) -> None:
        """Close it, whatever is still to be said."""
        if self._transport is not None:
            self._transport.abort()

    async def _respond(self, request: Request) -> None:
        self._send(await self._server.respond(request), body=request.method != "HEAD")

    def _too_slow(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"no request within {REQUEST_PATIENCE:g} s")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._read = True
        self._send(Response(status, f"{reason}\n".encode()), body=True)

    def _send(self, response: Response, *, body: bool) -> None:
        """Write the answer. The other side closes when it has it: closing first could take it from under its hands."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._answered = True
        self._set_timer(ANSWER_PATIENCE, self.drop)
        transport.write(head(response) + (response.body if body else b""))
        if self._hears_no_more or not transport.can_write_eof():
            transport.close()
        else:
            transport.write_eof()

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)


def parse(raw: bytes) -> Request:
    """A request from its line and headers.

    Raises:
        UnreadableRequestError: It is no request of HTTP/1.
    """
    first, *lines = raw.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[0].isalpha():  # noqa: PLR2004 - as HTTP says
        raise UnreadableRequestError("expected a request such as GET /readyz HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise UnreadableRequestError("expected headers such as Accept: text/plain")
        headers[name.lower()] = value.strip()
    return Request(words[0], words[1].partition("?")[0], headers)


def head(response: Response) -> bytes:
    """Status line and headers."""
    status = response.status
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        **response.headers,
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
