from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

import pytest

from runqy_worker.deployment.locks import FileLock, locked
from runqy_worker.deployment.secret_files import SecretFiles
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path


def test_an_exclusive_lock_keeps_everybody_else_out(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.try_take()
    assert not other.try_take()
    assert not other.try_take(shared=True)
    one.drop()
    assert other.try_take()
    other.drop()


def test_shared_locks_go_together_but_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    one, other, third = (FileLock(tmp_path / "lock") for _ in range(3))
    assert one.try_take(shared=True)
    assert other.try_take(shared=True)
    assert not third.try_take()
    for lock in (one, other, third):
        lock.drop()


def test_a_removed_lock_file_is_not_locked_in_its_place(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.try_take()
    assert not other.try_take()  # has the same file open
    (tmp_path / "lock").unlink()
    one.drop()
    assert other.try_take()
    third = FileLock(tmp_path / "lock")
    assert not third.try_take()
    other.drop()
    third.drop()


async def test_waiting_is_told_once_and_ends_with_an_error(tmp_path: Path) -> None:
    told: list[str] = []
    async with locked(tmp_path / "lock", step="deploy", timeout=1):
        with pytest.raises(DeploymentError, match="another process has held"):
            async with locked(tmp_path / "lock", step="deploy", timeout=0.3, on_wait=lambda: told.append("waiting")):
                pass
    assert told == ["waiting"]


async def test_who_waits_gets_the_lock_when_it_is_free(tmp_path: Path) -> None:
    order: list[str] = []

    async def hold(name: str) -> None:
        async with locked(tmp_path / "lock", step="deploy", timeout=20):
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(hold("a"), hold("b"))
    assert sorted(order) == ["a in", "a out", "b in", "b out"]
    assert order[0][0] == order[1][0]


def test_secret_files_are_this_users_only_and_go_away(tmp_path: Path) -> None:
    with SecretFiles({"XDG_RUNTIME_DIR": str(tmp_path)}) as secrets:
        path = secrets.write("token", "s3cret")
        assert secrets.write("token", "other").read_text() == "other"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert path.is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_daemon_left_is_removed_and_what_lives_is_not(tmp_path: Path) -> None:
    environ = {"RUNTIME_DIRECTORY": str(tmp_path)}
    left = tmp_path / "runqy-secrets-dead"
    left.mkdir()
    (left / "owner.lock").touch()
    (left / "token").write_text("old")
    with SecretFiles(environ) as one:
        kept = one.write("token", "a")
        assert not left.exists()
        with SecretFiles(environ):
            assert kept.read_text() == "a"


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="the host has no memory file system")  # noqa: PTH112
def test_secrets_stay_in_memory_where_the_host_has_some() -> None:
    with SecretFiles({}) as secrets:
        assert str(secrets.write("token", "x")).startswith("/dev/shm/")
