"""An arena for each scenario. `make chaos` runs the long forms with a seed; `make test` runs the short ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chaos.arena import Arena
from support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = "tests/chaos/"
LONGEST = 3600
"""Seconds that one long scenario may take."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long forms get the time they need."""
    if config.getoption("--chaos-long"):
        for item in items:
            if item.nodeid.startswith(HERE):
                item.add_marker(pytest.mark.timeout(LONGEST), append=False)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may be injured, and keeps what it acknowledged."""
    with RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def arena(request: pytest.FixtureRequest, tmp_path: Path, own_redis: RedisServer) -> Iterator[Arena]:
    """Named after the test; whatever was started is ended."""
    arena = Arena(request, tmp_path / "arena", own_redis)
    yield arena
    arena.close()
