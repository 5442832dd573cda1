from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.git_site import self_signed
from support.redis_server import free_port

from runqy_worker.config.model import BootstrapConfig, ServerConfig
from runqy_worker.deployment.answer import RedisAnswer
from runqy_worker.deployment.registration import Registrar
from runqy_worker.development.control_server import ControlServer, Fault
from runqy_worker.domain.errors import RegistrationError
from runqy_worker.domain.launch import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "worker-key-that-must-not-show"
QUEUES = """
queues:
  inference:
    sub_queues: [{name: low, priority: 3}, {name: high, priority: 9}]
    deployment:
      git_url: https://github.com/example/inference.git
      branch: main
      startup_cmd: python main.py
      mode: one_shot
      env_vars: {MODEL: m}
      vaults: [keys]
      git_token: vault://keys/GIT
vaults:
  keys: {API_KEY: sk-1, GIT: ghp_1}
"""


@pytest.fixture
def queues_file(tmp_path: Path) -> Path:
    path = tmp_path / "queues.yml"
    path.write_text(QUEUES)
    return path


@pytest.fixture
def server(queues_file: Path) -> Iterator[ControlServer]:
    redis = RedisAnswer("redis.example:6379", password="redis-password", use_tls=True)
    with ControlServer(queues_file, redis=redis, api_key=KEY, client_key="client-key") as running:
        yield running


def registrar(url: str, **settings: Any) -> Registrar:
    config = ServerConfig(**{"url": url, "api_key": KEY, "timeout": 5.0, **settings})
    return Registrar(config, BootstrapConfig(retries=1), version="1.2.3", hostname="host-1")


async def refusal(asking: Registrar, queue: str = "inference") -> RegistrationError:
    with pytest.raises(RegistrationError) as caught:
        await asking.once(queue)
    shown = [str(caught.value), repr(caught.value)]
    error: BaseException | None = caught.value
    while error is not None:
        shown.append(str(error))
        error = error.__cause__
    assert KEY not in "".join(shown)
    return caught.value


async def test_a_worker_is_registered(server: ControlServer) -> None:
    found = await registrar(f"{server.url}/").once("inference")
    assert found.redis == RedisAnswer("redis.example:6379", "redis-password", 0, use_tls=True)
    assert found.weights == {"inference.high": 9, "inference.low": 3}
    assert found.deployment.mode is Mode.ONE_SHOT
    assert found.deployment.redis_storage is False
    assert found.vaults == {"API_KEY": "sk-1", "GIT": "ghp_1"}
    assert found.git_token == "ghp_1"
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/worker/register")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    body = json.loads(request.body)
    assert body == {"queue": "inference", "hostname": "host-1", "os": "linux", "version": "1.2.3"}


@pytest.mark.parametrize("queue", ["inference.high", "inference:high"])
async def test_a_sub_queue_is_registered_alone(server: ControlServer, queue: str) -> None:
    assert (await registrar(server.url).once(queue)).weights == {"inference.high": 9}


def test_changed_definitions_are_seen_at_the_next_registration(server: ControlServer, queues_file: Path) -> None:
    asking = registrar(server.url)
    assert asyncio.run(asking.once("inference")).deployment.branch == "main"
    queues_file.write_text(QUEUES.replace("branch: main", "branch: release"))
    assert asyncio.run(asking.once("inference")).deployment.branch == "release"


async def test_refusals_say_what_to_look_at(server: ControlServer) -> None:
    wrong = await refusal(registrar(server.url, api_key="another"))
    assert "does not know the key (401): access unauthorized. Check server.api_key" in str(wrong)
    client = await refusal(registrar(server.url, api_key="client-key"))
    assert "not allowed to register workers" in str(client)
    assert "(403)" in str(client)
    unknown = await refusal(registrar(server.url), "nope")
    assert "the queue 'nope' is not known" in str(unknown)
    assert "queue 'nope' not found" in str(unknown)
    assert [error.status for error in (wrong, client, unknown)] == [401, 403, 404]
    assert not any(error.retryable for error in (wrong, client, unknown))


@pytest.mark.parametrize(
    ("fault", "said", "retryable"),
    [
        (Fault(status=500, body=b'{"error":"vaults not configured"}'), "failed (500): vaults not configured", True),
        (Fault(status=503, body=b"<html><title>Bad gateway</title>"), "a web page ('Bad gateway')", True),
        (Fault(status=429), "failed (429)", True),
        (Fault(status=418), "answered with status 418", False),
        (Fault(status=200, body=b"<!doctype html><title>Login</title>"), "a web page ('Login')", False),
        (Fault(status=200, body=b'{"redis": '), "expected JSON", False),
        (Fault(status=200, body=b""), "answered with nothing", False),
        (Fault(status=200, body=b'{"redis": {}}'), "redis.addr is missing; queue.name is missing", False),
        (Fault(status=302, headers={"Location": "https://other/"}), "redirects to https://other/ (302)", False),
        (Fault(status=401, body=KEY.encode()), "does not know the key (401) with '***'", False),
        (Fault(drop=True), "can't be reached", True),
        (Fault(delay=30), "gave no answer within 0.5 s", True),
    ],
)
async def test_faults_are_explained(server: ControlServer, fault: Fault, said: str, retryable: bool) -> None:
    server.faults.append(fault)
    error = await refusal(registrar(server.url, timeout=0.5))
    assert said in str(error)
    assert error.retryable is retryable


async def test_a_server_that_is_down_or_unknown_is_named() -> None:
    down = await refusal(registrar(f"http://127.0.0.1:{free_port()}"))
    assert "can't be reached: Connection refused" in str(down)
    assert down.retryable
    unknown = await refusal(registrar("http://no-such-host.invalid"))
    assert "no-such-host.invalid can't be reached" in str(unknown)


async def test_an_answer_that_trickles_in_does_not_hold_the_worker_for_ever() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def trickle() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.1):
                try:
                    connection.sendall(b" " * 1000)
                except OSError:
                    return

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        error = await refusal(registrar(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.5))
    finally:
        stop.set()
        thread.join()
        listening.close()
    assert "gave no answer within 0.5 s" in str(error)


async def test_a_private_certificate_must_be_trusted_by_name(queues_file: Path, tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path)
    with ControlServer(queues_file, redis_addr="r:1", api_key=KEY, tls=context) as server:
        error = await refusal(registrar(server.url))
        assert "the TLS certificate of 127.0.0.1" in str(error)
        assert "server.ca_file" in str(error)
        found = await registrar(server.url, ca_file=str(certificate)).once("inference")
        assert found.redis.addr == "r:1"


async def test_a_proxy_is_used_and_its_password_does_not_show(server: ControlServer) -> None:
    proxy = f"http://user:proxy-password@127.0.0.1:{server.port}"
    await registrar("http://elsewhere", proxy=proxy).once("inference")
    assert server.received[0].headers["Host"] == "elsewhere"
    away = f"http://user:proxy-password@127.0.0.1:{free_port()}"
    error = await refusal(registrar("http://elsewhere", proxy=away))
    assert "the proxy for elsewhere failed" in str(error)
    assert "proxy-password" not in str(error)


async def test_a_netrc_of_the_user_does_not_take_the_keys_place(
    server: ControlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    await registrar(server.url).once("inference")
    assert server.received[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "server:3000"}, "expected http://host or https://host"),
        ({"url": ""}, "expected http://host or https://host"),
        ({"api_key": ""}, "server.api_key is empty"),
        ({"api_key": f"{KEY}\n"}, "line breaks"),
        ({"api_key": f"{KEY}é"}, "beyond ASCII"),
    ],
)
async def test_settings_that_cannot_work_are_told_without_a_call(settings: dict[str, Any], said: str) -> None:
    error = await refusal(registrar(**{"url": "http://127.0.0.1:9", **settings}))
    assert said in str(error)
    assert not error.retryable


async def test_registration_does_not_hold_up_the_event_loop(server: ControlServer) -> None:
    server.faults.append(Fault(delay=0.3))
    asking = asyncio.create_task(registrar(server.url).once("inference"))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0.01)
        turns += 1
    await asking
    assert turns > 5
