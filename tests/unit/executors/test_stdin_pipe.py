"""The pipe into a process: never blocks, keeps order, knows what was not read."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from runqy_worker.executors.stdin import StdinPipe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Ends:
    """A pipe, and how often it was reported broken."""

    def __init__(self) -> None:
        self.read_end, write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self.broken = 0
        self.stdin = StdinPipe(write_end, asyncio.get_running_loop(), self._on_broken)

    def _on_broken(self) -> None:
        self.broken += 1

    def read(self, size: int) -> bytes:
        try:
            return os.read(self.read_end, size)
        except BlockingIOError:
            return b""

    def close_read_end(self) -> None:
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    yield ends
    ends.stdin.close()
    ends.close_read_end()


async def test_what_fits_goes_out_at_once(ends: Ends) -> None:
    ends.stdin.write(b"one")
    ends.stdin.write(b"two")
    assert ends.stdin.unread() == 6
    assert ends.read(4) == b"onet"
    assert ends.stdin.unread() == 2


async def test_what_does_not_fit_follows_in_order_as_the_reader_reads(ends: Ends) -> None:
    big = bytes(range(256)) * 4096
    ends.stdin.write(big)
    ends.stdin.write(b"end")
    total = len(big) + 3
    assert ends.stdin.unread() == total
    received = b""
    while len(received) < total:
        received += ends.read(65536)
        assert ends.stdin.unread() == total - len(received)
        await asyncio.sleep(0)
    assert received == big + b"end"


async def test_reader_that_is_gone_is_reported_once_and_nothing_counts_as_read(ends: Ends) -> None:
    ends.stdin.write(b"x" * 1_000_000)
    ends.close_read_end()
    ends.stdin.write(b"y")
    for _ in range(10):
        await asyncio.sleep(0)
    ends.stdin.write(b"z")
    assert ends.broken == 1
    assert ends.stdin.unread() == 1_000_002
    ends.stdin.close()
    assert ends.stdin.unread() == 1_000_002


async def test_after_closing_only_what_never_reached_the_pipe_is_known_to_be_unread(ends: Ends) -> None:
    ends.stdin.write(b"in the pipe")
    ends.stdin.close()
    ends.stdin.write(b"late")
    assert ends.stdin.unread() == 4
    assert ends.read(100) == b"in the pipe"
    assert ends.read(100) == b""
    assert ends.broken == 0
