"""Every test here runs over every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness, Harness, MemoryHarness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(params=["memory", "asynq"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    made: Harness
    made = MemoryHarness() if request.param == "memory" else AsynqHarness(request.getfixturevalue("redis_server").addr)
    yield made
    await made.close()
