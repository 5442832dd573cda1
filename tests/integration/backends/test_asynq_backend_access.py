"""Getting in: passwords, users, databases, TLS, unix sockets, Sentinel."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis
from conformance.backend_harness import AsynqHarness
from support.fakes import eventually
from support.redis_server import RedisServer, free_port, redis_binary
from support.tools import missing, needed

from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.domain.errors import BackendAuthError, BackendError, BackendUnavailableError
from runqy_worker.domain.events import Silent
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

QUEUE = "jobs.a"


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[AsynqHarness]:
    made = AsynqHarness(redis_server.addr)
    yield made
    await made.close()


async def ask(options: RedisOptions, *command: str) -> object:
    link = Link(options, "test", listener=Silent())
    try:
        return await link.call(*command)
    finally:
        await link.close()


async def test_a_password_is_needed_and_a_new_one_is_used_at_the_next_connect(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--requirepass", "first") as server:
        harness = AsynqHarness(server.addr)
        harness.db = redis.Redis(port=server.port, password="first")
        with pytest.raises(BackendAuthError, match="NOAUTH"):
            await harness.backend(QUEUE)
        with pytest.raises(BackendAuthError, match="WRONGPASS") as caught:
            await harness.backend(QUEUE, options=RedisOptions(addr=server.addr, password="wr0ng"))
        assert "wr0ng" not in str(caught.value)
        backend = await harness.backend(QUEUE, options=RedisOptions(addr=server.addr, password="first"))
        task_id = harness.enqueue(QUEUE)
        [task] = await backend.claim(1)
        harness.db.config_set("requirepass", "second")
        harness.db = redis.Redis(port=server.port, password="second")
        harness.db.client_kill_filter(_type="normal", skipme=True)
        errors: list[BackendError] = []
        while not any(isinstance(error, BackendAuthError) for error in errors):
            assert len(errors) < 5
            with pytest.raises(BackendUnavailableError) as unavailable:
                await backend.settle([Settlement(task, Action.RELEASE)])
            errors.append(unavailable.value)
        backend.reconfigure(RedisOptions(addr=server.addr, password="second"))
        assert await backend.settle([Settlement(task, Action.RELEASE)]) == [True]
        assert harness.line(QUEUE) == [task_id]
        await harness.close()


async def test_a_user_that_may_not_do_it_is_an_authentication_error(harness: AsynqHarness) -> None:
    harness.db.acl_setuser("reader", enabled=True, passwords=["+pw"], categories=["+@read"], keys=["*"])
    try:
        options = RedisOptions(addr=harness.options.addr, username="reader", password="pw")
        assert await ask(options, "GET", "missing") is None
        with pytest.raises(BackendAuthError, match="NOPERM"):
            await ask(options, "SET", "a", "1")
        with pytest.raises(BackendAuthError, match="WRONGPASS"):
            await ask(RedisOptions(addr=harness.options.addr, username="nobody", password="pw"), "PING")
    finally:
        harness.db.acl_deluser("reader")


async def test_a_least_privileged_user_can_work(harness: AsynqHarness) -> None:
    """What a worker needs: no CLIENT, no ROLE; waits are then cut off instead of unblocked."""
    harness.db.acl_setuser(
        "worker",
        enabled=True,
        passwords=["+pw"],
        keys=["asynq:*"],
        reset_channels=True,
        channels=["asynq:*"],
        categories=["+@read", "+@write", "+@scripting", "+@pubsub"],
        commands=["+ping", "+time", "+select"],
    )
    try:
        options = RedisOptions(addr=harness.options.addr, username="worker", password="pw")
        backend = await harness.backend(QUEUE, options=options)
        wait = asyncio.ensure_future(backend.wait())
        await asyncio.sleep(0.1)
        await asyncio.wait_for(backend.stop_waiting(), 10)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)
        await eventually(lambda: harness.db.info("clients")["blocked_clients"] == 0)
        task_id = harness.enqueue(QUEUE)
        [task] = await backend.claim(1)
        assert task.id == task_id
        assert await backend.settle([Settlement(task, Action.DISCARD)]) == [True]
        await backend.upkeep()
    finally:
        harness.db.acl_deluser("worker")


async def test_the_database_number_is_used(harness: AsynqHarness) -> None:
    await ask(RedisOptions(addr=harness.options.addr, db=5), "SET", "here", "1")
    with redis.Redis(port=int(harness.options.addr.split(":")[1]), db=5) as other:
        assert other.get("here") == b"1"
        other.flushdb()
    assert harness.db.get("here") is None
    with pytest.raises(BackendError, match="DB index is out of range"):
        await ask(RedisOptions(addr=harness.options.addr, db=500), "PING")


async def test_a_unix_socket_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path, "--unixsocket", str(path)) as server:
        harness = AsynqHarness(server.addr)
        backend = await harness.backend(QUEUE, options=RedisOptions(addr=str(path)))
        task_id = harness.enqueue(QUEUE)
        assert [task.id for task in await backend.claim(1)] == [task_id]
        await harness.close()


async def test_a_redis_that_is_too_old_is_named(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--rename-command", "BLMOVE", "") as server:
        harness = AsynqHarness(server.addr)
        with pytest.raises(BackendError, match=r"6\.2 or newer"):
            await harness.backend(QUEUE)
        await harness.close()


async def test_nobody_there_is_unavailable_and_says_where() -> None:
    addr = f"127.0.0.1:{free_port()}"
    with pytest.raises(BackendUnavailableError, match=addr):
        await ask(RedisOptions(addr=addr), "PING")
    with pytest.raises(BackendUnavailableError, match="expected host:port"):
        await ask(RedisOptions(addr="redis:port"), "PING")


async def test_a_listener_that_never_answers_is_given_up() -> None:
    over = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        options = RedisOptions(addr=f"127.0.0.1:{port}", connect_timeout=0.2)
        with pytest.raises(BackendUnavailableError, match="in time"):
            await ask(options, "PING")
        over.set()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, and one certificate that it signed for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    program = needed("openssl", "apt-get install openssl")

    def openssl(*args: str) -> None:
        subprocess.run([program, *args], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes", "-sha256")
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt")
    openssl(*new, "-subj", "/CN=redis", "-keyout", "redis.key", "-out", "redis.csr")
    (folder / "san.cnf").write_text("subjectAltName=IP:127.0.0.1\n")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san.cnf")
    openssl("x509", "-req", "-in", "redis.csr", "-sha256", *signed, "-out", "redis.crt")
    return folder


@pytest.fixture
def tls_addr(certificates: Path, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    files = [
        *("--tls-cert-file", str(certificates / "redis.crt")),
        *("--tls-key-file", str(certificates / "redis.key")),
        *("--tls-ca-cert-file", str(certificates / "ca.crt")),
    ]
    server = RedisServer(tmp_path, "--tls-port", str(port), *files)
    try:
        server.start()
    except RuntimeError as error:
        if "Bad directive" in str(error):
            missing("this redis-server was built without TLS: apt-get install redis-server")
        raise
    yield f"127.0.0.1:{port}"
    server.stop()


async def test_tls_with_a_client_certificate_works(certificates: Path, tls_addr: str) -> None:
    options = RedisOptions(
        addr=tls_addr,
        tls=True,
        ca_file=str(certificates / "ca.crt"),
        cert_file=str(certificates / "redis.crt"),
        key_file=str(certificates / "redis.key"),
    )
    assert await ask(options, "PING") == b"PONG"


async def test_tls_refuses_a_server_that_it_cannot_verify(certificates: Path, tls_addr: str) -> None:
    certificate, key = str(certificates / "redis.crt"), str(certificates / "redis.key")
    options = RedisOptions(addr=tls_addr, tls=True, cert_file=certificate, key_file=key)
    with pytest.raises(BackendUnavailableError, match=r"(?i)certificate"):
        await ask(options, "PING")
    with pytest.raises(BackendUnavailableError, match="No such file"):
        await ask(replace(options, ca_file=str(certificates / "no-such.crt")), "PING")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, str]]:
    """A master, its replica, and the address of a Sentinel that watches them as `mymaster`."""
    quick = ("--repl-diskless-sync-delay", "0")
    with (
        RedisServer(tmp_path / "one", *quick) as master,
        RedisServer(tmp_path / "two", "--replicaof", "127.0.0.1", str(master.port), *quick) as replica,
    ):
        port = free_port()
        conf = tmp_path / "sentinel.conf"
        conf.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
            f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
        )
        with (tmp_path / "sentinel.log").open("wb") as log:
            sentinel = subprocess.Popen([redis_binary(), str(conf), "--sentinel"], stdout=log, stderr=log)
        try:
            wait_until(lambda: knows_replica(port), "the Sentinel knows the replica")
            yield master, replica, f"127.0.0.1:{port}"
        finally:
            sentinel.terminate()
            sentinel.wait(10)


def knows_replica(port: int) -> bool:
    try:
        with redis.Redis(port=port, decode_responses=True) as client:
            found = client.execute_command("SENTINEL", "REPLICAS", "mymaster")
            return re.search(r"master-link-status\W+ok", str(found)) is not None
    except redis.RedisError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.slow
async def test_sentinel_names_the_master_and_a_failover_is_followed(
    watched: tuple[RedisServer, RedisServer, str],
) -> None:
    master, replica, sentinel = watched
    options = RedisOptions(
        sentinel_master="mymaster", sentinel_addrs=(f"127.0.0.1:{free_port()}", sentinel), timeout=1.0
    )
    harness = AsynqHarness(master.addr)
    task_id = harness.enqueue(QUEUE, retention=60)
    backend = await harness.backend(QUEUE, options=options)
    tasks = await backend.claim(1)
    harness.db.execute_command("WAIT", 1, 5000)
    master.kill()
    deadline = time.monotonic() + 40
    while True:
        try:
            assert await backend.settle([Settlement(tasks[0], Action.COMPLETE)]) == [True]
            break
        except BackendUnavailableError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    harness.db = redis.Redis(port=replica.port)
    assert harness.look(QUEUE, task_id).state == "completed"
    await harness.close()


@pytest.mark.slow
async def test_an_unknown_master_is_unavailable(watched: tuple[RedisServer, RedisServer, str]) -> None:
    options = RedisOptions(sentinel_master="other", sentinel_addrs=(watched[2],))
    with pytest.raises(BackendUnavailableError, match="knows no master 'other'"):
        await ask(options, "PING")
