"""A temporary installation for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.worker_site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.redis_server import RedisServer


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    """Where workers run; whatever was started is ended."""
    site = Site(tmp_path, redis_server)
    yield site
    site.close()
