"""What the small server answers, and what it does not let others do to it."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import Recorder, eventually

from runqy_worker.service import small_http
from runqy_worker.service.small_http import Request, Response, SmallHttp, UnreadableRequestError, parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ASK = b"GET /path?verbose HTTP/1.1\r\nHost: x\r\n\r\n"


class Place:
    """A server at a socket, with an answer that the test sets."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.recorder = Recorder()
        self.asked: list[Request] = []
        self.body = b"here\n"
        self.fault: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.http = SmallHttp(self.answer, self.recorder)

    async def answer(self, request: Request) -> Response:
        self.asked.append(request)
        await self.gate.wait()
        if self.fault:
            raise self.fault
        return Response(HTTPStatus.OK, self.body)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def send(self, raw: bytes) -> bytes:
        """All that comes back, after which the server has closed its side."""
        reader, writer = await self.connect()
        writer.write(raw)
        try:
            return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path / "s")
    server = await asyncio.get_running_loop().create_unix_server(made.http.connection, made.path)
    yield made
    server.close()
    made.http.close()
    await asyncio.sleep(0)


def status(raw: bytes) -> int:
    return int(raw.split(b" ", 2)[1])


async def test_a_request_is_answered_and_the_connection_closed(place: Place) -> None:
    head, _, body = (await place.send(ASK)).partition(b"\r\n\r\n")
    assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
    assert b"Content-Length: 5" in head.splitlines()
    assert b"Connection: close" in head.splitlines()
    assert body == b"here\n"
    assert [(asked.method, asked.path) for asked in place.asked] == [("GET", "/path")]


async def test_a_head_request_gets_the_length_but_no_body(place: Place) -> None:
    head, _, body = (await place.send(ASK.replace(b"GET", b"HEAD"))).partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in head.splitlines()
    assert body == b""


async def test_a_request_may_come_in_pieces(place: Place) -> None:
    reader, writer = await place.connect()
    for byte in ASK:
        writer.write(bytes([byte]))
        await writer.drain()
    assert status(await reader.read()) == 200
    writer.close()


async def test_who_will_send_no_more_is_answered_all_the_same(place: Place) -> None:
    reader, writer = await place.connect()
    place.gate.clear()
    writer.write(ASK)
    writer.write_eof()
    await eventually(lambda: place.asked)
    place.gate.set()
    assert status(await reader.read()) == 200
    writer.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(place: Place, method: str) -> None:
    raw = await place.send(f"{method} / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".encode())
    assert status(raw) == 405
    assert b"Allow: GET, HEAD" in raw
    assert place.asked == []


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / FTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 \x00 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nname : x\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_called_so(place: Place, raw: bytes) -> None:
    assert status(await place.send(raw)) == 400
    assert place.asked == []


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(raw: bytes) -> None:
    with contextlib.suppress(UnreadableRequestError):
        assert parse(raw).method.isalpha()


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_request_that_is_too_long_is_cut_off(place: Place, end: bytes) -> None:
    raw = await place.send(ASK[:-2] + b"X: " + b"x" * small_http.LARGEST_REQUEST + end)
    assert status(raw) == 431
    assert place.asked == []


async def test_who_sends_no_request_in_time_is_told_and_cut_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_http, "REQUEST_PATIENCE", 0.01)
    assert status(await place.send(b"GET / HT")) == 408


async def test_who_does_not_take_the_answer_is_cut_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_http, "ANSWER_PATIENCE", 0.01)
    place.body = b"x" * 10_000_000
    reader, writer = await place.connect()
    reader._transport.pause_reading()  # type: ignore[attr-defined]  # so that the system's buffers fill up
    writer.write(ASK)
    await eventually(lambda: place.asked and not place.http._open)
    reader._transport.resume_reading()  # type: ignore[attr-defined]
    with contextlib.suppress(ConnectionError):
        assert len(await reader.read()) < len(place.body)
    writer.close()


async def test_there_is_room_again_when_one_of_too_many_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_http, "MOST_CONNECTIONS", 2)
    idle = [await place.connect() for _ in range(2)]
    await eventually(lambda: len(place.http._open) == 2)
    assert status(await place.send(ASK)) == 503
    for _, writer in idle:
        writer.close()
    await eventually(lambda: not place.http._open)
    assert status(await place.send(ASK)) == 200


async def test_a_fault_in_answering_is_logged_and_not_shown(place: Place) -> None:
    place.fault = KeyError("secret")
    raw = await place.send(ASK)
    assert status(raw) == 500
    assert b"secret" not in raw
    assert place.recorder.actions() == ["health_fault"]
    assert "KeyError('secret')" in place.recorder.notices[0].message


async def test_who_goes_away_before_its_answer_harms_nothing(place: Place) -> None:
    place.gate.clear()
    _, writer = await place.connect()
    writer.write(ASK)
    await eventually(lambda: place.asked)
    writer.transport.abort()
    place.gate.set()
    await eventually(lambda: not place.http._open)
    assert place.recorder.actions() == []


async def test_closing_drops_every_connection(place: Place) -> None:
    reader, writer = await place.connect()
    await eventually(lambda: place.http._open)
    place.http.close()
    assert await reader.read() == b""
    writer.close()
