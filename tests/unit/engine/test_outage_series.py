from __future__ import annotations

import asyncio
import random

from support.fakes import FakeClock, Recorder, eventually

from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.settlement import Action
from runqy_worker.domain.task import Task
from runqy_worker.engine.outages import Outages
from runqy_worker.engine.retrying import Verdicts


class Broker:
    def __init__(self) -> None:
        self.up = True
        self.calls = 0

    async def ask(self) -> str:
        self.calls += 1
        if not self.up:
            raise BackendUnavailableError("away")
        return "pong"

    async def listen(self) -> None:
        await self.ask()
        await asyncio.Event().wait()


async def test_an_operation_that_is_given_up_does_not_keep_the_outage_open() -> None:
    recorder, broker = Recorder(), Broker()
    outages = Outages(recorder, random.Random(1))
    broker.up = False
    waiting = asyncio.ensure_future(outages.until_done("wait", broker.listen))
    await eventually(lambda: outages.ongoing)
    broker.up = True
    await eventually(lambda: broker.calls >= 2)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not outages.ongoing
    assert await outages.until_done("claim", broker.ask) == "pong"
    broker.up = False
    assert await outages.until_done("claim", broker.ask, lambda: True) is None
    assert recorder.actions() == ["backend_unavailable", "backend_back", "backend_unavailable"]


async def test_an_outage_is_told_once_whatever_meets_it() -> None:
    recorder, broker = Recorder(), Broker()
    outages = Outages(recorder, random.Random(1))
    broker.up = False
    asked = [asyncio.ensure_future(outages.until_done(name, broker.ask)) for name in ("claim", "renew", "settle")]
    await eventually(lambda: broker.calls >= len(asked))
    broker.up = True
    assert await asyncio.gather(*asked) == ["pong"] * 3
    assert recorder.actions() == ["backend_unavailable", "backend_back"]


async def test_a_subscription_that_stands_again_does_not_keep_the_outage_open() -> None:
    recorder, broker = Recorder(), Broker()
    outages = Outages(recorder, random.Random(1))
    broker.up = False
    listening = asyncio.ensure_future(outages.until_done("listen", broker.listen, blocks=True))
    await eventually(lambda: recorder.actions() == ["backend_unavailable"])
    broker.up = True
    assert await outages.until_done("claim", broker.ask) == "pong"
    assert recorder.actions() == ["backend_unavailable", "backend_back"]
    listening.cancel()
    await asyncio.wait([listening])


async def test_one_operation_that_succeeds_wakes_those_that_wait_for_long() -> None:
    broker = Broker()
    outages = Outages(Recorder(), random.Random(1))
    broker.up = False
    settling = asyncio.ensure_future(outages.until_done("settle", broker.ask))
    await eventually(lambda: broker.calls == 5)  # the next pause lasts most of a second
    broker.up = True
    began = asyncio.get_running_loop().time()
    await outages.until_done("claim", broker.ask)
    assert await settling == "pong"
    assert asyncio.get_running_loop().time() - began < 0.3


def test_workers_that_end_with_a_task_in_hand_are_charged_to_it_in_the_end() -> None:
    verdicts = Verdicts(retry_delay=lambda *_: 0, max_deaths=3, max_reruns=3, clock=FakeClock(1000.0))

    def verdict(reruns: int, deaths: int) -> tuple[Action, bool] | None:
        task = Task("t", "job", b"", "q", reruns=reruns, deaths=deaths, max_retry=100)
        settlement = verdicts.before_start(task)
        return (settlement.action, settlement.death) if settlement else None

    assert [verdict(reruns, 0) for reruns in (3, 4)] == [None, (Action.RETRY, True)]
    assert [verdict(reruns, 1) for reruns in (4, 7, 8)] == [None, None, (Action.RETRY, True)]
    assert [verdict(reruns, 2) for reruns in (11, 12)] == [None, (Action.ARCHIVE, True)]
