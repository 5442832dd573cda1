"""A temporary installation for each test, with a Redis of its own where that gets injured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.field import Field
from support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def field(tmp_path: Path, redis_server: RedisServer) -> Iterator[Field]:
    """Where workers run; whatever was started is ended."""
    field = Field(tmp_path, redis_server)
    yield field
    field.close()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may be injured, and keeps what it acknowledged."""
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always")
    with server:
        yield server


@pytest.fixture
def fragile(tmp_path: Path, own_redis: RedisServer) -> Iterator[Field]:
    """The same as `field`, on a Redis that may be injured."""
    field = Field(tmp_path, own_redis)
    yield field
    field.close()
