"""Who may ask a worker for what: decided by the user whom the kernel names, and told by the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.fakes import Recorder

from runqy_worker.cli.main import main
from runqy_worker.service.control_server import ControlServer, Rights, Verb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

AS_ROOT = os.geteuid() == 0
OWN = 65534 if AS_ROOT else os.geteuid()
"""The user under which the worker is said to run; root may always do everything."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that other users reach, which pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="runqy-control-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def path(place: Path) -> AsyncIterator[Path]:
    """The socket of a worker whose own user may only look."""

    async def say(_request: Mapping[str, Any], _tell: Callable[..., None]) -> dict[str, Any]:
        return {"begun": True, "lanes": []}

    verbs = {"release_list": Verb(say), "deploy": Verb(say, changes=True)}
    server = ControlServer(verbs, rights=Rights(own_user=False, own_uid=OWN), program="1", listener=Recorder())
    await server.open(place / "s")
    for words in (("release", "list"), ("deploy",)):  # loads modules that other users may be unable to read
        await command(place / "s", *words, user=os.geteuid())
    yield place / "s"
    await server.close()


@contextlib.contextmanager
def acting_as(user: int) -> Iterator[None]:
    """The kernel takes this process for this user's meanwhile."""
    if not AS_ROOT:
        yield
        return
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


async def command(path: Path, *words: str, user: int) -> int:
    """Run it as this user; returns the exit code."""
    with acting_as(user):
        return await asyncio.to_thread(main, [*words, "--socket", str(path)])


@pytest.fixture
def open_path(path: Path) -> Path:
    """The same, where the file lets everybody in."""
    path.chmod(0o666)
    return path


async def test_the_workers_own_user_may_look_and_no_more(open_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command(open_path, "release", "list", user=OWN) == 0
    assert await command(open_path, "deploy", user=OWN) == 77
    assert "may only look (control.own_user is false)" in capsys.readouterr().err


@pytest.mark.skipif(not AS_ROOT, reason="only root can be somebody else")
async def test_others_whom_the_file_lets_in_may_do_everything(path: Path) -> None:
    os.chown(path, 0, OWN - 1)
    assert await command(path, "deploy", user=0) == 0
    assert await command(path, "deploy", user=OWN - 1) == 0


@pytest.mark.skipif(not AS_ROOT, reason="only root can be somebody else")
async def test_whom_the_file_keeps_out_is_told_who_may(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await command(path, "deploy", user=OWN) == 77
    assert "access is refused; root and the members of the group root may ask" in capsys.readouterr().err
