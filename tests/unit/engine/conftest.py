"""A running engine between fakes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.engine_bench import Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.engine_bench import MakeEngine


@pytest.fixture
def running_engine() -> MakeEngine:
    """Makes a running engine; leaving the block stops it."""

    @asynccontextmanager
    async def make(slots: int = 1, **options: Any) -> AsyncIterator[Bench]:
        bench = Bench(slots, **options)
        run = asyncio.create_task(bench.engine.run())
        try:
            yield bench
        finally:
            bench.backend.down = False
            bench.engine.hurry()
            await run

    return make
