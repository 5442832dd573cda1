"""A small control server on this machine: registration, enqueueing and lookups as the runqy server has them.

For tests, `runqy-worker dev` and the demo. It keeps nothing and does not check payloads against a queue's `input`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from runqy_worker.deployment.answer import RedisAnswer
from runqy_worker.deployment.queues_file import QueuesFile, read_queues_file
from runqy_worker.development.control_answer import RefusedCallError, registration_answer
from runqy_worker.development.control_tasks import AsynqTasks, shown_as_added, shown_as_found
from runqy_worker.domain import queues
from runqy_worker.domain.errors import RunqyError

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from runqy_worker.development.control_tasks import Enqueues, LooksUp

DEFAULT_TIMEOUT = 1800.0
"""Seconds per attempt when a task brings none."""
_BATCH_TIMEOUT = 30.0
_WAIT = 30.0
_WAIT_POLL = 0.1
_LARGEST_BODY = 50 * 1024 * 1024


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
        self._http: _HTTPServer | None = None
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
        self._http = _HTTPServer(self._address, self)
        if self._tls is not None:
            self._http.socket = self._tls.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="control-server")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening; calls under way are answered first."""
        self.stopping.set()
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._thread.join()
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


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, address: tuple[str, int], control: ControlServer) -> None:
        self.control = control
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no concern of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HTTPServer
    timeout = 30

    def do_GET(self) -> None:
        """Answer /health and /queue/{id}."""
        self._handle(b"")

    def do_POST(self) -> None:
        """Answer registration and enqueueing."""
        length = int(self.headers.get("Content-Length") or 0)
        self._handle(self.rfile.read(min(length, _LARGEST_BODY)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of http.server
        """Say nothing: `received` has it all."""

    def _handle(self, body: bytes) -> None:
        control = self.server.control
        path = urlsplit(self.path).path
        control.received.append(Received(self.command, path, dict(self.headers.items()), body))
        fault = control.fault_for(path)
        if fault is not None:
            control.stopping.wait(fault.delay)
            if fault.drop:
                self.close_connection = True
                return
            if fault.status:
                self._send(fault.status, fault.body, fault.content_type, fault.headers)
                return
        try:
            status, answer = HTTPStatus.OK, self._route(path, body)
        except RefusedCallError as error:
            status, answer = error.status, error.body
        except RunqyError as error:  # Redis is away, or the queues file is broken: say so, as the real one does
            status, answer = HTTPStatus.INTERNAL_SERVER_ERROR, {"errors": [str(error)]}
        self._send(status, json.dumps(answer).encode(), "application/json", {})

    def _send(self, status: int, body: bytes, content_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.close_connection = True  # so that stopping waits for no idle connection
        usual = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
        for name, value in {**usual, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _route(self, path: str, body: bytes) -> dict[str, Any]:
        control = self.server.control
        match (self.command, path.strip("/").split("/")):
            case ("GET", ["health"]):
                return {"status": "ok"}
            case ("POST", ["worker", "register"]):
                self._authorize(control.api_key, control.client_key)
                return registration_answer(control.definitions(), control.redis, _object(body, single=True))
            case ("POST", ["queue", "add"]):
                self._authorize(control.client_key, control.api_key)
                return self._add(_object(body))
            case ("POST", ["queue", "add-batch"]):
                self._authorize(control.client_key, control.api_key)
                return self._add_batch(_object(body))
            case ("GET", ["queue", task_id]):
                return {"Info": self._find(task_id)}
        raise RefusedCallError(HTTPStatus.NOT_FOUND, "no such route")

    def _authorize(self, key: str, other: str) -> None:
        header = self.headers.get("Authorization", "")
        given = header.removeprefix("Bearer ") if header.startswith("Bearer ") else self.headers.get("X-API-Key", "")
        if key and hmac.compare_digest(given.encode(), key.encode()):
            return
        if other and hmac.compare_digest(given.encode(), other.encode()):
            raise RefusedCallError(HTTPStatus.FORBIDDEN, "insufficient permissions")
        raise RefusedCallError(HTTPStatus.UNAUTHORIZED, "access unauthorized")

    def _add(self, body: dict[str, Any]) -> dict[str, Any]:
        queue = self._known(body)
        data = body.get("data", {key: value for key, value in body.items() if key not in {"queue", "timeout"}})
        payload = json.dumps(data).encode()
        (outcome,) = self.server.control.enqueue(queue, [payload], _timeout(body) or DEFAULT_TIMEOUT)
        if isinstance(outcome, Exception):
            raise RefusedCallError(HTTPStatus.BAD_REQUEST, str(outcome))
        task = self.server.control.lookup(outcome)
        if task is None:  # it ran and was deleted already
            raise RefusedCallError(HTTPStatus.INTERNAL_SERVER_ERROR, f"task {outcome} is gone")
        return {"info": shown_as_added(task), "data": data}

    def _add_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        jobs = body.get("jobs")
        if not isinstance(jobs, list) or not jobs:
            raise RefusedCallError(HTTPStatus.BAD_REQUEST, "jobs array cannot be empty")
        queue = self._known(body)
        payloads = [json.dumps(job).encode() for job in jobs]
        outcomes = self.server.control.enqueue(queue, payloads, _timeout(body) or _BATCH_TIMEOUT)
        ids = [outcome for outcome in outcomes if isinstance(outcome, str)]
        errors = [str(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
        answer = {"enqueued": len(ids), "failed": len(errors), "task_ids": ids}
        return answer | ({"errors": errors} if errors else {})

    def _find(self, task_id: str) -> dict[str, Any]:
        control = self.server.control
        wait = parse_qs(urlsplit(self.path).query).get("wait") == ["true"]
        deadline = time.monotonic() + (_WAIT if wait else 0)
        while True:
            task = control.lookup(task_id)
            if task is None:
                raise RefusedCallError(HTTPStatus.NOT_FOUND, "task not found")
            if not wait or task.state in {"completed", "archived"}:
                return shown_as_found(task)
            if time.monotonic() >= deadline or control.stopping.wait(_WAIT_POLL):
                raise RefusedCallError(HTTPStatus.REQUEST_TIMEOUT, "timeout waiting for result")

    def _known(self, body: dict[str, Any]) -> str:
        queue = body.get("queue")
        if not isinstance(queue, str) or not queue:
            raise RefusedCallError(HTTPStatus.BAD_REQUEST, "queue is required")
        full = queues.enqueue_target(queue)
        if self.server.control.definitions().find(full) is None:
            raise RefusedCallError(HTTPStatus.NOT_FOUND, f"queue not found: {full}")
        return full


def _object(body: bytes, *, single: bool = False) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError as error:
        raise RefusedCallError(HTTPStatus.BAD_REQUEST, f"invalid request: {error}", single=single) from error
    if not isinstance(document, dict):
        raise RefusedCallError(HTTPStatus.BAD_REQUEST, "invalid request: expected an object", single=single)
    return document


def _timeout(body: dict[str, Any]) -> float:
    timeout = body.get("timeout", 0)
    if not isinstance(timeout, int) or isinstance(timeout, bool) or timeout < 0:
        raise RefusedCallError(HTTPStatus.BAD_REQUEST, "invalid timeout field: expected whole seconds")
    return float(timeout)
