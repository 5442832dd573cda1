"""The control socket's language, its limits, and who may ask for what. Both ends are the real ones."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.fakes import Recorder, eventually

from runqy_worker.domain.errors import ControlError, DeploymentError
from runqy_worker.service import control_client, control_server
from runqy_worker.service.control_client import ask
from runqy_worker.service.control_server import ControlServer, Rights, Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

ROOT, OWN, MEMBER = 0, 990, 1000


class Worker:
    """Does what is asked."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[Mapping[str, Any]] = []

    async def look(self, request: Mapping[str, Any], _tell: Callable[..., None]) -> dict[str, Any]:
        self.asked.append(request)
        return {"status": "well"}

    async def wait(self, _request: Mapping[str, Any], tell: Callable[..., None]) -> dict[str, Any]:
        tell({"action": "began", "message": "begun"})
        await self.go.wait()
        return {"done": True}

    async def refuse(self, _request: Mapping[str, Any], _tell: Callable[..., None]) -> dict[str, Any]:
        raise DeploymentError("no such branch", step="clone")

    async def break_down(self, _request: Mapping[str, Any], _tell: Callable[..., None]) -> dict[str, Any]:
        raise KeyError("bug")

    def verbs(self) -> dict[str, Verb]:
        return {
            "status": Verb(self.look),
            "wait": Verb(self.wait, changes=True),
            "refuse": Verb(self.refuse, changes=True),
            "break": Verb(self.break_down),
        }


class Served:
    """A worker behind its socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.worker = Worker()
        self.recorder = Recorder()
        rights = Rights(own_user=True, own_uid=os.geteuid())
        self.server = ControlServer(self.worker.verbs(), rights=rights, program="1.2.3", listener=self.recorder)

    async def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        return await asyncio.to_thread(ask, self.path, verb, **arguments)

    async def raw(self, data: bytes) -> list[dict[str, Any]]:
        """All that is answered to these bytes."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(data)
        writer.write_eof()
        lines = (await reader.read()).splitlines()
        writer.close()
        await writer.wait_closed()
        return [json.loads(line) for line in lines]


@pytest.fixture
async def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.chdir(tmp_path)
    served = Served(tmp_path / "s")
    await served.server.open(served.path)
    yield served
    await served.server.close()
    assert not served.path.exists()


async def test_an_answer_comes_back_and_unknown_keys_do_no_harm(served: Served) -> None:
    answer = await served.ask("status", from_the_future=[1])
    assert answer["status"] == "well"
    assert served.worker.asked == [{"v": 1, "verb": "status", "from_the_future": [1]}]


async def test_several_requests_on_one_connection_also_without_a_last_line_break(served: Served) -> None:
    answers = await served.raw(b'{"v":1,"verb":"status"}\n{"v":1,"verb":"status"}')
    assert [answer["ok"] for answer in answers] == [True, True]


async def test_progress_comes_before_the_answer_and_while_nothing_happens(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_server, "BEAT", 0.01)
    heard: list[str] = []

    def hear(progress: Mapping[str, Any]) -> None:
        heard.append(progress["action"])

    asking = asyncio.create_task(served.ask("wait", on_progress=hear))
    await eventually(lambda: heard.count("waiting") > 1)
    served.worker.go.set()
    assert (await asking)["done"]
    assert heard[0] == "began"


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        (b"status\n", "request", "expected one JSON object on a line"),
        (b"[" * 30_000 + b"\n", "request", "expected one JSON object on a line"),
        (b"[1]\n", "request", "found a JSON list, expected an object"),
        (b'{"verb":"status"}\n', "request", "v: found None"),
        (b'{"v":true,"verb":"status"}\n', "request", "v: found True"),
        (b'{"v":1}\n', "request", "verb: found None"),
        (b'{"v":1,"verb":"dance"}\n', "verb", "(runqy-worker 1.2.3) does not know 'dance'; it knows break, refuse,"),
        (b'{"v":7,"verb":"status"}\n', "version", "found 7, but this worker speaks version 1"),
        (b'{"v":0,"verb":"status"}\n', "version", "found 0, but this worker speaks version 1"),
        (b'{"v":1,"verb":"' + b"x" * 70_000 + b'"}\n', "request", "found more than 65536 bytes in one line"),
    ],
)
async def test_what_can_not_be_understood_is_answered(served: Served, line: bytes, reason: str, words: str) -> None:
    [answer] = await served.raw(line)
    assert (answer["ok"], answer["final"], answer["reason"]) == (False, True, reason)
    assert words in answer["error"]
    assert (answer["oldest"], answer["newest"], answer["program"]) == (1, 1, "1.2.3")


async def test_a_no_is_an_error_with_its_reason(served: Served) -> None:
    with pytest.raises(ControlError, match="no such branch") as raised:
        await served.ask("refuse")
    assert raised.value.reason == "failed"


async def test_a_fault_is_told_and_the_worker_goes_on(served: Served) -> None:
    with pytest.raises(ControlError, match=r"a fault of the worker .*bug") as raised:
        await served.ask("break")
    assert raised.value.reason == "fault"
    assert served.recorder.actions() == ["control_failed"]
    assert (await served.ask("status"))["ok"]


async def test_who_asks_for_a_change_is_told(served: Served) -> None:
    served.worker.go.set()
    await served.ask("status")
    await served.ask("wait")
    [notice] = served.recorder.notices
    assert (notice.action, notice.message) == ("control_asked", f"user {os.geteuid()} asks for wait")


async def test_a_newer_client_is_told_which_versions_fit(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "encode", lambda message: json.dumps({**message, "v": 2}).encode() + b"\n")
    with pytest.raises(ControlError, match=r"another version of this program \(1\.2\.3\), with version 1 of") as raised:
        await served.ask("status")
    assert raised.value.reason == "version"


@pytest.mark.parametrize(
    ("uid", "own_user", "may"),
    [(ROOT, False, True), (MEMBER, False, True), (OWN, True, True), (OWN, False, False)],
)
def test_who_may_change_something(uid: int, own_user: bool, may: bool) -> None:
    assert Rights(own_user=own_user, own_uid=OWN).may_change(uid) is may


async def test_those_who_may_only_look_are_told_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rights, "may_change", lambda _rights, _uid: False)
    assert (await served.ask("status"))["ok"]
    with pytest.raises(ControlError, match="may only look") as raised:
        await served.ask("wait")
    assert raised.value.reason == "forbidden"


async def test_who_says_nothing_is_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "PATIENCE", 0.01)
    reader, writer = await asyncio.open_unix_connection(str(served.path))
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_who_reads_nothing_is_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "PATIENCE", 0.05)
    monkeypatch.setattr(control_server, "LAST_WORDS", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.setblocking(False)
        await asyncio.get_running_loop().sock_connect(silent, str(served.path))
        requests = (b'{"v":1,"verb":"' + b"x" * 1000 + b'"}\n') * 100_000
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            await asyncio.get_running_loop().sock_sendall(silent, requests)
        await eventually(lambda: not served.server._talks)
    assert (await served.ask("status"))["ok"]


async def test_who_went_away_is_noticed_and_the_work_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "BEAT", 0.01)
    reader, writer = await asyncio.open_unix_connection(str(served.path))
    writer.write(b'{"v":1,"verb":"wait"}\n')
    await reader.readline()
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: not served.server._talks)


async def test_too_many_connections_of_one_user_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "MOST_PER_USER", 2)
    open_ones = [await asyncio.open_unix_connection(str(served.path)) for _ in range(2)]
    await eventually(lambda: len(served.server._talks) == 2)
    with pytest.raises(ControlError, match="too many are connected"):
        await served.ask("status")
    for _, writer in open_ones:
        writer.close()
        await writer.wait_closed()
    await eventually(lambda: not served.server._talks)
    assert (await served.ask("status"))["ok"]


async def test_those_who_wait_hear_the_end(tmp_path: Path) -> None:
    served = Served(tmp_path / "s")
    await served.server.open(served.path)
    heard: list[object] = []
    asking = asyncio.create_task(served.ask("wait", on_progress=heard.append))
    await eventually(lambda: heard)
    served.worker.go.set()
    await served.server.close()
    assert (await asking)["done"]


async def test_a_worker_that_ends_without_an_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "LAST_WORDS", 0.01)
    served = Served(tmp_path / "s")
    await served.server.open(served.path)
    heard: list[object] = []
    asking = asyncio.create_task(served.ask("wait", on_progress=heard.append))
    await eventually(lambda: heard)
    await served.server.close()
    with pytest.raises(ControlError, match="the worker ended before it answered") as raised:
        await asking
    assert raised.value.reason == "no_answer"


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no worker is running: there is no") as raised:
        ask(tmp_path / "s", "status")
    assert raised.value.reason == "not_running"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with pytest.raises(ControlError, match="no worker is running: nobody listens at") as raised:
        ask(tmp_path / "s", "status")
    assert raised.value.reason == "not_running"


def test_a_worker_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(tmp_path / "s"))
        hanging.listen()
        with pytest.raises(ControlError, match=r"does not answer: nothing came for 0\.05 s"):
            ask(tmp_path / "s", "status", patience=0.05)
