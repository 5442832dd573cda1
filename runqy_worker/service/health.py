"""The health endpoint: `/livez`, `/readyz`, `/startupz` and `/metrics`, and who may ask for what."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import ListenError
from runqy_worker.service.small_http import Response, SmallHttp
from runqy_worker.service.unix_socket import bind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runqy_worker.domain.events import Listener
    from runqy_worker.service.probes import Probes, Verdict
    from runqy_worker.service.small_http import Request
    from runqy_worker.service.unix_socket import Bound

KEY = "health.address"
MODE = 0o666
"""Of the socket: who can reach it is decided by the directory that it is in, and by the token."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"


class Health:
    """Answers, and knows who asks.

    Probes are answered to everybody, since those who probe often can't keep a secret. With a token, `/metrics` is only
    for those who send it, and so are the reasons that probes give. A wrong token is refused everywhere.

    Args:
        probes: Answers to the first three.
        metrics: Awaited for the text of the last.
        token: What callers must send; empty when nothing.
        listener: Hears of faults.
    """

    def __init__(
        self, probes: Probes, metrics: Callable[[], Awaitable[str]], *, token: str, listener: Listener
    ) -> None:
        self._metrics = metrics
        self._token = token.encode()
        self._probes = {"/livez": probes.live, "/readyz": probes.ready, "/startupz": probes.started}
        self.http = SmallHttp(self.answer, listener)

    async def answer(self, request: Request) -> Response:
        """The answer to one request."""
        given = request.headers.get("authorization")
        known = not self._token or (given is not None and self._is_right(given))
        probe = self._probes.get(request.path)
        if probe is None and request.path != "/metrics":
            paths = ", ".join((*self._probes, "/metrics"))
            return Response(HTTPStatus.NOT_FOUND, f"there is nothing here; expected one of {paths}\n".encode())
        if not known and (probe is None or given is not None):
            text = b"expected the token of health.token: Authorization: Bearer ...\n"
            return Response(HTTPStatus.UNAUTHORIZED, text, headers={"WWW-Authenticate": "Bearer"})
        if probe is None:
            return Response(HTTPStatus.OK, (await self._metrics()).encode(), METRICS_TYPE)
        verdict = probe()
        return _told(verdict if known else verdict.without_details(), request)

    def _is_right(self, given: str) -> bool:
        scheme, _, token = given.partition(" ")
        same = secrets.compare_digest(token.strip().encode(), self._token)  # in constant time
        return same and scheme.lower() == "bearer"


def _told(verdict: Verdict, request: Request) -> Response:
    status = HTTPStatus.OK if verdict.ok else HTTPStatus.SERVICE_UNAVAILABLE
    if _JSON in request.headers.get("accept", ""):
        return Response(status, verdict.json().encode(), _JSON)
    return Response(status, verdict.text().encode())


@dataclass(frozen=True, slots=True)
class Listening:
    """An open door.

    Attributes:
        addresses: `unix:PATH`, or `HOST:PORT` for each socket.
    """

    addresses: tuple[str, ...]
    server: asyncio.Server
    http: SmallHttp
    bound: Bound | None

    def close(self) -> None:
        """Let nobody in any more, and those inside go."""
        if self.bound is not None:
            self.bound.remove()
        self.server.close()
        self.http.close()


async def listen(address: str | tuple[str, int], http: SmallHttp) -> Listening:
    """Open the door.

    Args:
        address: Path of a unix socket, or host and port.
        http: What is behind it.

    Raises:
        ListenError: It can't be done; the text names the setting.
    """
    loop = asyncio.get_running_loop()
    if isinstance(address, str):
        bound = bind(Path(address), MODE, KEY)
        server = await loop.create_unix_server(http.connection, sock=bound.socket)
        return Listening((f"unix:{address}",), server, http, bound)
    host, port = address
    try:
        server = await loop.create_server(http.connection, host, port)
    except OSError as error:
        shown = _shown(host, port)
        raise ListenError(f"{KEY}: can't listen at {shown}: {error.strerror or error}") from None
    addresses = tuple(_shown(*each.getsockname()[:2]) for each in server.sockets)
    return Listening(addresses, server, http, None)


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
