"""A socket at a path, its rights, and what may be in its place."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from runqy_worker.domain.errors import ListenError
from runqy_worker.service.unix_socket import LONGEST, Bound, bind, reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def open_at() -> Iterator[Callable[..., Bound]]:
    opened = []

    def open_at(path: Path, mode: int = 0o600) -> Bound:
        bound = bind(path, mode, "health.address")
        opened.append(bound)
        return bound

    yield open_at
    for bound in opened:
        bound.socket.close()


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, reachable(path) as address:
        try:
            client.connect(address)
        except ConnectionRefusedError:
            return False
        return True


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_it_has_the_mode_that_was_asked_for_whatever_the_umask(
    tmp_path: Path, open_at: Callable[..., Bound], mode: int
) -> None:
    before = os.umask(0o077)
    try:
        open_at(tmp_path / "s", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == mode
    assert connects(tmp_path / "s")
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


def test_it_has_no_name_that_others_can_reach_before_its_rights_are_set(
    tmp_path: Path, open_at: Callable[..., Bound], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = type(tmp_path).chmod

    def chmod(path: Path, mode: int) -> None:
        seen.append(stat.S_IMODE(path.parent.stat().st_mode))
        assert not (tmp_path / "s").exists()
        real(path, mode)

    monkeypatch.setattr(type(tmp_path), "chmod", chmod)
    open_at(tmp_path / "s", 0o600)
    assert seen == [0o700]


def test_a_socket_that_a_dead_worker_left_is_replaced(tmp_path: Path, open_at: Callable[..., Bound]) -> None:
    open_at(tmp_path / "s").socket.close()
    assert not connects(tmp_path / "s")
    open_at(tmp_path / "s")
    assert connects(tmp_path / "s")


def test_a_living_socket_is_left_alone(tmp_path: Path, open_at: Callable[..., Bound]) -> None:
    open_at(tmp_path / "s")
    with pytest.raises(
        ListenError,
        match=rf"health\.address: another process \({os.getpid()}\) listens at .*/s; expected a path of this",
    ):
        open_at(tmp_path / "s")
    assert connects(tmp_path / "s")


def test_a_living_socket_whose_queue_is_full_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(tmp_path / "s"))
        busy.listen(0)
        waiting.connect(str(tmp_path / "s"))
        with pytest.raises(ListenError, match="another process listens"):
            bind(tmp_path / "s", 0o600, "health.address")


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ListenError, match=r"health\.address: found .*/s, which is no socket; expected a path where"):
        bind(tmp_path / "s", 0o600, "health.address")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"health\.address: can't listen at .*/none/s: No such file or directory"):
        bind(tmp_path / "none/s", 0o600, "health.address")


def test_a_path_may_be_longer_than_an_address(tmp_path: Path, open_at: Callable[..., Bound]) -> None:
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    path = directory / "health.sock"
    assert len(os.fsencode(path)) > LONGEST
    bound = open_at(path, 0o666)
    assert connects(path)
    with pytest.raises(ListenError, match=r"another process \(\d+\) listens"):
        open_at(path)
    bound.remove()
    assert not path.exists()


def test_only_its_own_file_is_removed(tmp_path: Path, open_at: Callable[..., Bound]) -> None:
    first = open_at(tmp_path / "s")
    first.socket.close()
    second = open_at(tmp_path / "s")
    first.remove()
    assert connects(tmp_path / "s")
    second.remove()
    second.remove()
    assert not (tmp_path / "s").exists()
