"""Deploys of a running worker: one at a time, shared, and with results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from support.fakes import FakeClock, Recorder

from runqy_worker.app.deploys import Deploys
from runqy_worker.domain.errors import ConfigError, ControlError, DeploymentError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class FakeLane:
    """A lane that becomes ready at each deploy, unless it is to fail."""

    def __init__(self, parent: str, error: BaseException | None = None) -> None:
        self.parent = parent
        self.ready = True
        self.error = error
        self.go = asyncio.Event()
        self.go.set()
        self.forced: list[bool] = []

    async def reload(self, *, force: bool = False) -> None:
        self.forced.append(force)
        await self.go.wait()
        if self.error is not None:
            raise self.error

    async def roll_back(self) -> None:
        await self.reload()


async def nothing() -> None:
    return


def deploys(
    *lanes: FakeLane, before: Callable[[], Awaitable[None]] = nothing, recorder: Recorder | None = None
) -> Deploys:
    given: Any = lanes
    return Deploys(given, recorder or Recorder(), FakeClock(), before)


async def test_those_who_ask_meanwhile_share_the_next_one_and_any_may_force_it() -> None:
    lane = FakeLane("a")
    lane.go.clear()
    all_of_them = deploys(lane)
    first = all_of_them.deploy()
    await asyncio.sleep(0)
    second, third = all_of_them.deploy(), all_of_them.deploy(force=True)
    assert second is third is not first
    lane.go.set()
    await asyncio.gather(first, second)
    assert lane.forced == [False, True]
    assert not all_of_them.ongoing


async def test_a_rollback_waits_for_its_turn() -> None:
    a, b = FakeLane("a"), FakeLane("b")
    a.go.clear()
    all_of_them = deploys(a, b)
    deploy, rollback = all_of_them.deploy(), all_of_them.roll_back("b")
    await asyncio.sleep(0.01)
    assert len(b.forced) == 1
    a.go.set()
    assert [lane.parent for lane in (await rollback).lanes] == ["b"]
    assert (await deploy).kind == "deploy"


async def test_a_rollback_of_a_queue_that_is_not_here_is_refused() -> None:
    with pytest.raises(ControlError, match="found 'c', expected a parent queue of this worker: a, b"):
        deploys(FakeLane("a"), FakeLane("b")).roll_back("c")


async def test_the_result_tells_of_those_that_failed() -> None:
    recorder = Recorder()
    bad = FakeLane("b", DeploymentError("no such branch", step="clone"))
    all_of_them = deploys(FakeLane("a"), bad, recorder=recorder)
    result = await all_of_them.deploy()
    assert (result.error, result.message) == (bad.error, "b: no such branch")
    assert all_of_them.last is result
    assert [lane["ok"] for lane in result.as_dict()["lanes"]] == [True, False]  # type: ignore[attr-defined]  # JSON
    assert recorder.actions() == ["reload_started", "reload_failed"]
    assert "the old release goes on serving: no such branch" in recorder.notices[-1].message


async def test_a_fault_is_a_failure_too_and_comes_before_others() -> None:
    recorder = Recorder()
    fault = KeyError("bug")
    all_of_them = deploys(
        FakeLane("a", DeploymentError("no such branch", step="clone")), FakeLane("b", fault), recorder=recorder
    )
    assert (await all_of_them.deploy()).error is fault
    assert recorder.actions() == ["reload_started", "reload_failed", "reload_failed"]


async def test_nothing_is_deployed_with_a_configuration_that_can_not_be_used() -> None:
    async def broken() -> None:
        raise ConfigError(("config.yml:3: worker.queue: found a list",))

    lane = FakeLane("a")
    result = await deploys(lane, before=broken).deploy()
    assert (lane.forced, result.message) == ([], "a: config.yml:3: worker.queue: found a list")


async def test_closing_gives_up_what_is_under_way() -> None:
    lane = FakeLane("a")
    lane.go.clear()
    all_of_them = deploys(lane)
    deploy = all_of_them.deploy()
    await asyncio.sleep(0)
    await all_of_them.close()
    assert deploy.cancelled()
    assert not all_of_them.ongoing
