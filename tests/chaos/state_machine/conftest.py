"""A Redis on our clock, for models to be held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chaos.state_machine.lease_clock import scripts_on_our_clock
from chaos.state_machine.lease_link import unreliable_links
from support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def protocol_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One for a whole file; each field empties it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def links() -> Iterator[None]:
    """Connections of backends and clients can be made to lose things."""
    with unreliable_links():
        yield


@pytest.fixture
def fast_clock(tmp_path: Path, links: None) -> Iterator[None]:
    """The scripts as they are, on our clock."""
    with scripts_on_our_clock(tmp_path):
        yield
