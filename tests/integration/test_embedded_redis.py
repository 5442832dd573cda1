"""The Redis that `dev` and the demo bring along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from runqy_worker.development import embedded_redis
from runqy_worker.development.embedded_redis import EmbeddedRedis, find_redis_server
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

OWNER = """
import sys, time
from pathlib import Path
from runqy_worker.development.embedded_redis import EmbeddedRedis

with EmbeddedRedis(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody collected counts as ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


def test_it_serves_on_loopback_and_keeps_nothing(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        host, _, port = server.addr.partition(":")
        with redis.Redis(host=host, port=int(port)) as client:
            assert client.set("key", "value")
            assert client.config_get("bind")["bind"] == "127.0.0.1"
            assert client.config_get("save")["save"] == ""
        pid = server.pid
    assert gone(pid)
    assert server.pid == 0
    assert [file.name for file in (tmp_path / "redis").iterdir()] == ["redis.log"]


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a") as one, EmbeddedRedis(tmp_path / "b") as two:
        assert one.port != two.port


def test_it_dies_with_its_owner_whatever_ends_that(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not gone(pid)
        os.kill(owner.pid, signal.SIGKILL)
    wait_until_gone(pid)


def test_without_a_server_both_ways_to_get_one_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BackendUnavailableError, match=r"apt-get install redis-server.*runqy-worker\[dev\]"):
        EmbeddedRedis(tmp_path).start()


def test_the_one_beside_the_interpreter_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "bin" / "redis-server"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert find_redis_server() == binary


def test_a_server_that_does_not_start_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho 'no memory left for a database'\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded_redis, "find_redis_server", lambda: broken)
    with pytest.raises(BackendUnavailableError, match="no memory left for a database"):
        EmbeddedRedis(tmp_path / "redis").start()


def test_a_port_that_someone_else_took_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "first") as first:
        ports = iter([first.port, embedded_redis._free_port()])
        monkeypatch.setattr(embedded_redis, "_free_port", lambda: next(ports))
        with EmbeddedRedis(tmp_path / "second") as second:
            assert second.port != first.port
