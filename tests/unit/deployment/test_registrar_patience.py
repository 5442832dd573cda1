from __future__ import annotations

import random
from typing import Any

import pytest

from runqy_worker.config.model import BootstrapConfig, ServerConfig
from runqy_worker.deployment.register_call import RegisterCall
from runqy_worker.deployment.registration import Registrar
from runqy_worker.domain.errors import RegistrationError
from runqy_worker.domain.events import Level, Notice, Silent

ANSWER = {
    "redis": {"addr": "r:6379"},
    "queue": {"name": "inference", "priority": 1},
    "deployment": {"git_url": "u", "startup_cmd": "c"},
}
DOWN = RegistrationError("the server is down")
REFUSED = RegistrationError("the key is refused", retryable=False, status=401)


class World(Silent):
    """A server that answers as scripted, and a clock that only counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *script: Any) -> None:
        self.script = list(script)
        self.asked: list[str] = []
        self.slept: list[float] = []
        self.notices: list[Notice] = []
        monkeypatch.setattr(RegisterCall, "send", lambda _, body: self.answer(body))

    def answer(self, body: dict[str, str]) -> Any:
        self.asked.append(body["queue"])
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    def registrar(self, **bootstrap: Any) -> Registrar:
        server = ServerConfig(url="http://server", api_key="key")
        settings = BootstrapConfig(**{"retries": 3, "retry_delay": 4.0, **bootstrap})
        return Registrar(server, settings, listener=self, rng=random.Random(7), sleep=self.sleep, version="1.0")


async def test_a_server_that_comes_back_is_registered_with(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, DOWN, DOWN, ANSWER)
    found = await world.registrar().register("inference")
    assert found.weights == {"inference": 1}
    assert len(world.slept) == 2
    assert all(3 <= delay <= 5 for delay in world.slept)
    assert len(set(world.slept)) == 2, "the delays are jittered"
    assert [notice.level for notice in world.notices] == [Level.WARNING] * 2


async def test_between_rounds_the_delay_grows_up_to_a_few_minutes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, *[DOWN] * 30, ANSWER)
    await world.registrar(retries=1).register("inference")
    assert len(world.slept) == 30
    assert all(later > earlier for earlier, later in zip(world.slept[:4], world.slept[1:5], strict=True))
    assert max(world.slept) <= 375
    assert min(world.slept[10:]) >= 225


async def test_a_refusal_ends_its_round_but_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, REFUSED, REFUSED, ANSWER)
    await world.registrar().register("inference")
    assert len(world.asked) == 3
    assert min(world.slept) >= 45
    assert [notice.action for notice in world.notices] == ["registration_waiting"] * 2


async def test_an_unusable_answer_is_treated_like_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, {"redis": {}}, ANSWER)
    await world.registrar().register("inference")
    assert len(world.slept) == 1
    assert "redis.addr is missing" in world.notices[0].message
    assert "http://server/worker/register" in world.notices[0].message


@pytest.mark.parametrize(("error", "asked"), [(DOWN, 3), (REFUSED, 1)])
async def test_giving_up_means_one_round(monkeypatch: pytest.MonkeyPatch, error: Exception, asked: int) -> None:
    world = World(monkeypatch, *[error] * 5)
    with pytest.raises(RegistrationError):
        await world.registrar(give_up=True).register("inference")
    assert len(world.asked) == asked


async def test_once_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, DOWN)
    with pytest.raises(RegistrationError):
        await world.registrar().once("inference")
    assert world.slept == []


@pytest.mark.parametrize("status", [400, 404])
async def test_the_older_separator_is_tried_and_then_the_current_one(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    refused = RegistrationError("unknown", retryable=False, status=status)
    served = {**ANSWER, "sub_queues": [{"name": "inference.high", "priority": 2}]}
    world = World(monkeypatch, refused, served)
    found = await world.registrar().once("inference:high")
    assert world.asked == ["inference:high", "inference.high"]
    assert found.weights == {"inference.high": 2}
