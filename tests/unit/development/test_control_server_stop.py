"""Stopping the control server: answers what is under way, waits for nobody who is only connected."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from runqy_worker.development.control_server import ControlServer, Fault

if TYPE_CHECKING:
    from pathlib import Path

IMPATIENCE = 15.0
"""Seconds, well below what the server gives a connection that says nothing."""


@pytest.fixture
def server(tmp_path: Path) -> ControlServer:
    queues_file = tmp_path / "queues.yml"
    queues_file.write_text("queues: {}")
    return ControlServer(queues_file).start()


def stop_in_thread(server: ControlServer) -> threading.Thread:
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    return stopping


def until_received(server: ControlServer) -> None:
    deadline = time.monotonic() + IMPATIENCE
    while not server.received:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_connection_that_says_nothing_is_not_waited_for(server: ControlServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.settimeout(IMPATIENCE)
        called = http.client.HTTPConnection("127.0.0.1", server.port)
        called.request("GET", "/health")  # accepted after the silent one, which is known to be accepted then
        called.getresponse().read()
        called.close()
        stopping = stop_in_thread(server)
        stopping.join(IMPATIENCE)
        assert not stopping.is_alive()
        assert silent.recv(1) == b""


def test_a_request_that_never_becomes_whole_is_not_waited_for(server: ControlServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(b"POST /queue/add HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{")
        stopping = stop_in_thread(server)
        stopping.join(IMPATIENCE)
        assert not stopping.is_alive()


def test_a_call_under_way_is_answered(server: ControlServer) -> None:
    server.faults.append(Fault(path="/health", delay=600))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=IMPATIENCE)
    connection.request("GET", "/health")
    until_received(server)
    stopping = stop_in_thread(server)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b'{"status": "ok"}')
    connection.close()
    stopping.join(IMPATIENCE)
    assert not stopping.is_alive()


def test_it_can_be_started_again(server: ControlServer) -> None:
    server.stop()
    server.stop()
    with server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=IMPATIENCE)
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b'{"status": "ok"}'
        connection.close()
