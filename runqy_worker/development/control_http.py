"""The control server's calls over HTTP: who may make them, what they do, how they are answered."""

from __future__ import annotations

import contextlib
import hmac
import json
import socket
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from runqy_worker.development.control_answer import RefusedCallError, registration_answer
from runqy_worker.development.control_tasks import shown_as_added, shown_as_found
from runqy_worker.domain import queues
from runqy_worker.domain.errors import RunqyError

if TYPE_CHECKING:
    from runqy_worker.development.control_server import ControlServer

DEFAULT_TIMEOUT = 1800.0
"""Seconds per attempt when a task brings none."""
_BATCH_TIMEOUT = 30.0
_WAIT = 30.0
_WAIT_POLL = 0.1
_LARGEST_BODY = 50 * 1024 * 1024


class ControlHTTPServer(ThreadingHTTPServer):
    """Listens, and serves each connection in a thread of its own.

    Args:
        address: Host and port to listen at.
        control: What the calls are about.
    """

    daemon_threads = False

    def __init__(self, address: tuple[str, int], control: ControlServer) -> None:
        self.control = control
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection and serve it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def hear_no_more(self) -> None:
        """Let no connection bring another call; those under way can still be answered."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):  # gone already
                socket.socket.shutdown(connection, socket.SHUT_RD)  # that of a TLS socket would end its encryption

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no concern of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ControlHTTPServer
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
        control.note(self.command, path, dict(self.headers.items()), body)
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
        self.close_connection = True  # calls are rare, so nothing is left open behind them
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
