"""An orderly failover: the old master is up, and takes writes that will be lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from conformance.backend_harness import AsynqHarness
from support.fakes import eventually
from support.sentinel import MASTER, Sentinels, role_of, talk

from runqy_worker.backends.asynq import mastership
from runqy_worker.backends.asynq.link import Link
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.events import Silent

if TYPE_CHECKING:
    from pathlib import Path

    from support.redis_server import RedisServer

QUEUE = "jobs.a"


def connected(server: RedisServer) -> set[str]:
    """The names of our connections."""
    with talk(server.port) as client:
        return {about["name"] for about in client.client_list() if about["name"].startswith("runqy-worker:")}


def is_heard(port: int) -> bool:
    """Whether somebody subscribed to this Sentinel."""
    with talk(port) as client:
        return any(about["sub"] != "0" for about in client.client_list())


@pytest.mark.slow
async def test_the_old_master_is_left_as_soon_as_the_sentinels_name_another(tmp_path: Path) -> None:
    with Sentinels(tmp_path, count=2) as sentinels:
        old, new = sentinels.nodes
        harness = AsynqHarness(old.addr)
        options = RedisOptions(sentinel_master=MASTER, sentinel_addrs=sentinels.addrs)
        backend = await harness.backend(QUEUE, options=options)
        listening = asyncio.ensure_future(backend.listen(lambda _id: None))
        waiting = asyncio.ensure_future(backend.wait())
        await eventually(lambda: {"runqy-worker:wait-1", "runqy-worker:cancel"} <= connected(old))
        await eventually(lambda: all(map(is_heard, sentinels.ports)))
        sentinels.fail_over()
        await eventually(lambda: connected(old) <= {"runqy-worker:cancel"}, seconds=10)
        assert role_of(old) == "master", "it was left only because it was told to stop"
        with pytest.raises(BackendUnavailableError):
            await asyncio.wait_for(waiting, 10)
        assert "redis_master_switched" in harness.recorder.actions()
        assert await backend.claim(1) == []
        assert "runqy-worker:claim" in connected(new)
        assert not listening.done()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await harness.close()


async def test_a_sentinel_that_is_away_is_told_once_and_the_others_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mastership, "_TRY_AGAIN", 0.02)
    with Sentinels(tmp_path, count=2) as sentinels:
        old, _new = sentinels.nodes
        harness = AsynqHarness(old.addr)
        addrs = ("127.0.0.1:1", *sentinels.addrs)
        backend = await harness.backend(QUEUE, options=RedisOptions(sentinel_master=MASTER, sentinel_addrs=addrs))
        listening = asyncio.ensure_future(backend.listen(lambda _id: None))
        await eventually(lambda: "sentinel_unavailable" in harness.recorder.actions())
        await eventually(lambda: all(map(is_heard, sentinels.ports)))
        await asyncio.sleep(0.3)  # it tries again meanwhile
        assert harness.recorder.actions().count("sentinel_unavailable") == 1
        assert not listening.done()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await harness.close()


async def test_a_connection_that_was_being_made_to_the_old_master_is_not_used(tmp_path: Path) -> None:
    """The old master may be up again by then, and would call the tokens of claims void that it does not know."""
    with Sentinels(tmp_path) as sentinels:
        old, new = sentinels.nodes
        options = RedisOptions(sentinel_master=MASTER, sentinel_addrs=sentinels.addrs)
        link = Link(options, "test", listener=Silent())
        old.pause()
        connecting = asyncio.ensure_future(link.connect())
        await asyncio.sleep(0.2)
        link.follow(new.addr)
        old.resume()
        for attempt in (connecting, link.connect()):
            with pytest.raises(BackendUnavailableError, match="not the master any more"):
                await attempt
        link.follow(old.addr)
        await link.connect()
        await link.close()
