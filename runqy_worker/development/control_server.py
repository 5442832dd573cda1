"""A small control server on this machine: registration, enqueueing and lookups as the runqy server has them.

For tests, `runqy-worker dev` and the demo. It keeps nothing and does not check payloads against a queue's `input`.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from runqy_worker.deployment.answer import RedisAnswer
from runqy_worker.deployment.queues_file import QueuesFile, read_queues_file
from runqy_worker.development.control_http import ControlHTTPServer
from runqy_worker.development.control_tasks import AsynqTasks

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from runqy_worker.development.control_tasks import Enqueues, LooksUp


@dataclass(slots=True)
class Fault:
    """A way to misbehave, for tests.

    Attributes:
        path: The call that it spoils.
        status: Answer with this status; 0 answers as usual, after the delay.
        body: The body of that answer.
        content_type: Its type.
        headers: More headers.
        delay: Seconds to wait first.
        drop: Close the connection without an answer.
        times: How often; None for ever.
    """

    path: str = "/worker/register"
    status: int = 0
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drop: bool = False
    times: int | None = 1


@dataclass(frozen=True, slots=True)
class Received:
    """One request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ControlServer:
    """The server. A context manager, also an asynchronous one; serves from threads of its own.

    Args:
        queues_file: The queues, in the runqy server's format. Read anew at each call, so it may be changed.
        redis_addr: Where Redis is.
        redis: All that registrations say of Redis, instead of `redis_addr`. May be replaced while it runs.
        enqueue: Puts tasks into queues; into that Redis unless given.
        lookup: Finds tasks; likewise.
        api_key: What workers authenticate with; a random one unless given.
        client_key: What clients authenticate with; likewise.
        host: Where to listen; loopback unless told otherwise.
        port: Where to listen; 0 takes a free port.
        tls: Serve https with this.

    Attributes:
        faults: What goes wrong next, first come first served.
        received: What arrived, oldest first.
    """

    def __init__(
        self,
        queues_file: Path,
        *,
        redis_addr: str = "",
        redis: RedisAnswer | None = None,
        enqueue: Enqueues | None = None,
        lookup: LooksUp | None = None,
        api_key: str = "",
        client_key: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.redis = redis or RedisAnswer(redis_addr)
        tasks = AsynqTasks(self.redis)
        self.enqueue = enqueue or tasks.enqueue
        self.lookup = lookup or tasks.lookup
        self.api_key = api_key or secrets.token_urlsafe(24)
        self.client_key = client_key or secrets.token_urlsafe(24)
        self.faults: list[Fault] = []
        self.received: list[Received] = []
        self.stopping = threading.Event()
        self._queues_file = queues_file
        self._address = (host, port)
        self._tls = tls
        self._lock = threading.Lock()
        self._http: ControlHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def definitions(self) -> QueuesFile:
        """The queues as the file has them now.

        Raises:
            ConfigError: It can't be used.
        """
        return read_queues_file(self._queues_file, os.environ)

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        if self._http is None:
            raise RuntimeError("the control server is not running")
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """For `server.url`."""
        return f"{'https' if self._tls else 'http'}://{self._address[0]}:{self.port}"

    def start(self) -> Self:
        """Listen and serve.

        Raises:
            OSError: The port is taken.
        """
        self.stopping.clear()
        self._http = ControlHTTPServer(self._address, self)
        if self._tls is not None:
            self._http.socket = self._tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="control-server")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening. Calls under way are answered first; idle connections are not waited for."""
        self.stopping.set()
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.hear_no_more()
            self._http.server_close()
        self._http = self._thread = None

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def note(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        """A request arrived."""
        self.received.append(Received(method, path, headers, body))

    def fault_for(self, path: str) -> Fault | None:
        """The fault that the next call of `path` meets; counts it as met."""
        with self._lock:
            for fault in self.faults:
                if fault.path == path:
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self.faults.remove(fault)
                    return fault
        return None
