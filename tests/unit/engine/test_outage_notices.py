from __future__ import annotations

import asyncio
import random

from support.fakes import Recorder, eventually

from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.engine.outages import Outages


class Redis:
    def __init__(self) -> None:
        self.up = True
        self.calls = 0

    async def ask(self) -> str:
        self.calls += 1
        if not self.up:
            raise BackendUnavailableError("redis is away")
        return "pong"

    async def hang(self) -> str:
        await self.ask()
        await asyncio.Event().wait()
        return "never"


async def test_an_operation_that_is_given_up_does_not_keep_the_outage_open() -> None:
    recorder, redis = Recorder(), Redis()
    outages = Outages(recorder, random.Random(1))
    redis.up = False
    waiting = asyncio.ensure_future(outages.until_done("wait", redis.hang))
    await eventually(lambda: outages.ongoing)
    redis.up = True
    await eventually(lambda: redis.calls >= 2)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not outages.ongoing
    assert await outages.until_done("claim", redis.ask) == "pong"
    redis.up = False
    assert await outages.until_done("claim", redis.ask, lambda: True) is None
    assert recorder.actions() == ["backend_unavailable", "backend_back", "backend_unavailable"]


async def test_an_outage_is_told_once_whatever_meets_it() -> None:
    recorder, redis = Recorder(), Redis()
    outages = Outages(recorder, random.Random(1))
    redis.up = False
    asked = [asyncio.ensure_future(outages.until_done(name, redis.ask)) for name in ("claim", "renew", "settle")]
    await eventually(lambda: redis.calls >= len(asked))
    redis.up = True
    assert await asyncio.gather(*asked) == ["pong"] * 3
    assert recorder.actions() == ["backend_unavailable", "backend_back"]
