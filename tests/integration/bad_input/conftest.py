"""An installation per test, with environments that are made quickly."""

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
    site.settings["deployment"]["installer"] = "uv"
    site.settings["recovery"] = {"initial_delay": "50ms"}
    yield site
    site.close()
