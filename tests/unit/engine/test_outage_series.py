from __future__ import annotations

import asyncio
import random

import pytest
from support.fakes import FakeClock, Recorder, eventually

from runqy_worker.domain.errors import BackendAuthError, BackendUnavailableError
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


class Guard(Broker):
    """Refuses whatever is asked, until the control server has answered with new credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.server = asyncio.Event()
        self.fault: Exception | None = None

    async def ask(self) -> str:
        self.calls += 1
        if not self.server.is_set():
            raise BackendAuthError("NOAUTH")
        return "pong"

    async def renew_credentials(self) -> bool:
        self.asked += 1
        await self.server.wait()
        if self.fault is not None:
            raise self.fault
        return True


async def test_who_met_a_refusal_goes_on_while_credentials_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runqy_worker.engine.outages.LONGEST_DELAY", 0.01)
    guard = Guard()
    outages = Outages(Recorder(), random.Random(1), guard.renew_credentials)
    loops = [
        asyncio.ensure_future(outages.until_done(name, guard.ask, longest_delay=0.01)) for name in ("claim", "renew")
    ]
    await eventually(lambda: guard.calls >= 10)
    assert guard.asked == 1
    guard.server.set()
    assert await asyncio.gather(*loops) == ["pong"] * 2
    await outages.close()


async def test_new_credentials_are_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runqy_worker.engine.outages.FIRST_DELAY", 60.0)
    guard = Guard()
    outages = Outages(Recorder(), random.Random(1), guard.renew_credentials)
    loops = [asyncio.ensure_future(outages.until_done(name, guard.ask)) for name in ("claim", "renew")]
    await eventually(lambda: guard.calls == 2)
    guard.server.set()
    assert await asyncio.wait_for(asyncio.gather(*loops), 20) == ["pong"] * 2


async def test_a_request_that_changed_nothing_hurries_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runqy_worker.engine.outages.FIRST_DELAY", 60.0)
    guard = Guard()

    async def renew_credentials() -> bool:
        guard.asked += 1
        return False

    outages = Outages(Recorder(), random.Random(1), renew_credentials)
    loop = asyncio.ensure_future(outages.until_done("claim", guard.ask))
    await eventually(lambda: guard.asked == 1)
    for _ in range(100):
        await asyncio.sleep(0)
    assert (guard.asked, guard.calls) == (1, 1)
    loop.cancel()
    await asyncio.wait([loop])


async def test_what_the_request_for_credentials_died_of_is_raised_by_who_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runqy_worker.engine.outages.FIRST_DELAY", 60.0)
    guard = Guard()
    guard.fault = ZeroDivisionError("a mistake")
    recorder = Recorder()
    outages = Outages(recorder, random.Random(1), guard.renew_credentials)
    loop = asyncio.ensure_future(outages.until_done("claim", guard.ask))
    await eventually(lambda: guard.asked == 1)
    guard.server.set()
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(loop, 20)
    assert recorder.actions() == ["backend_refused", "credentials_died"]


async def test_nobody_asks_for_credentials_after_the_end() -> None:
    guard = Guard()
    outages = Outages(Recorder(), random.Random(1), guard.renew_credentials)
    loop = asyncio.ensure_future(outages.until_done("claim", guard.ask))
    await eventually(lambda: guard.asked == 1)
    loop.cancel()
    await asyncio.wait([loop])
    await outages.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "credentials"]


def test_workers_that_end_with_a_task_in_hand_are_charged_to_it_in_the_end() -> None:
    verdicts = Verdicts(retry_delay=lambda *_: 0, max_deaths=3, max_reruns=3, clock=FakeClock(1000.0))

    def verdict(reruns: int, deaths: int) -> tuple[Action, bool] | None:
        task = Task("t", "job", b"", "q", reruns=reruns, deaths=deaths, max_retry=100)
        settlement = verdicts.before_start(task)
        return (settlement.action, settlement.death) if settlement else None

    assert [verdict(reruns, 0) for reruns in (3, 4)] == [None, (Action.RETRY, True)]
    assert [verdict(reruns, 1) for reruns in (4, 7, 8)] == [None, None, (Action.RETRY, True)]
    assert [verdict(reruns, 2) for reruns in (11, 12)] == [None, (Action.ARCHIVE, True)]
