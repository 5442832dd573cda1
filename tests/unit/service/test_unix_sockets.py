"""Sockets with a path: their permissions, what is in the way, and long paths."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runqy_worker.domain.errors import ControlError
from runqy_worker.service.unix_sockets import LONGEST_PATH, address_of, listen

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = "x" * 100


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o177])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client, address_of(path) as address:
        client.connect(address)


@pytest.mark.usefixtures("_umask")
def test_the_file_has_the_mode_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    listener = listen(tmp_path / "s", mode=0o660)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660
    listener.close()


def test_the_file_is_never_open_to_others_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    before = os.umask(0)
    monkeypatch.setattr(os, "chmod", lambda path, _mode: seen.append(stat.S_IMODE(Path(path).stat().st_mode)))
    listen(tmp_path / "s", mode=0o660).close()
    os.umask(before)
    assert seen == [0o660]


def test_a_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    listener = listen(tmp_path / "s", mode=0o600)
    connect(tmp_path / "s")
    listener.close()
    assert list(tmp_path.iterdir()) == []


def test_a_live_socket_is_left_alone_and_its_owner_named(tmp_path: Path) -> None:
    first = listen(tmp_path / "s", mode=0o600)
    with pytest.raises(ControlError, match=rf"another process \({os.getpid()}\) listens there") as raised:
        listen(tmp_path / "s", mode=0o600)
    assert raised.value.reason == "busy"
    connect(tmp_path / "s")
    first.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ControlError, match="found a file that is no socket"):
        listen(tmp_path / "s", mode=0o600)
    assert (tmp_path / "s").read_text() == "precious"


def test_closing_leaves_the_file_of_a_successor(tmp_path: Path) -> None:
    first = listen(tmp_path / "s", mode=0o600)
    (tmp_path / "s").unlink()
    second = listen(tmp_path / "s", mode=0o600)
    first.close()
    connect(tmp_path / "s")
    second.close()


@pytest.mark.parametrize("deep", [LONG, f"{LONG}/{LONG}"])
def test_long_paths_work(tmp_path: Path, deep: str) -> None:
    path = tmp_path / deep / "control.sock"
    path.parent.mkdir(parents=True)
    assert len(str(path)) > LONGEST_PATH
    listener = listen(path, mode=0o600)
    connect(path)
    with pytest.raises(ControlError, match="listens there"):
        listen(path, mode=0o600)
    listener.close()
    assert not path.exists()


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="too long for the name of a socket"):
        listen(tmp_path / LONG, mode=0o600)


def test_a_directory_that_is_missing_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        listen(tmp_path / "gone" / "s", mode=0o600)
