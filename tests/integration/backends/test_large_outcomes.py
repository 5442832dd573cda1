"""Outcomes that are large, together or alone, and what becomes of their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from conformance.backend_harness import AsynqHarness
from support.redis_server import RedisServer

from runqy_worker.backends.asynq.keys import QueueKeys
from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.domain.task import Task

QUEUE = "jobs.a"
KEYS = QueueKeys(QUEUE)
MIB = 1 << 20


def completed(task: Task, size: int) -> Settlement:
    """With a result of this size."""
    return Settlement(task, Action.COMPLETE, b'"' + b"x" * (size - 2) + b'"')


async def test_outcomes_that_are_large_together_are_sent_one_after_another(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--client-query-buffer-limit", "4mb") as server:
        harness = AsynqHarness(server.addr)
        ids = [harness.enqueue(QUEUE, retention=60) for _ in range(20)]
        released = [harness.enqueue(QUEUE) for _ in range(3)]
        backend = await harness.backend(QUEUE)
        tasks = await backend.claim(23)
        batch = [completed(task, 9 * MIB // 10) for task in tasks[:20]]
        for at, task in zip((0, 7, 14), tasks[20:], strict=True):
            batch.insert(at, Settlement(task, Action.RELEASE))
        harness.db.config_resetstat()
        assert await backend.settle(batch) == [True] * 23
        assert harness.db.info("commandstats")["cmdstat_evalsha"]["calls"] >= 20
        assert [harness.look(QUEUE, task_id).state for task_id in ids] == ["completed"] * 20
        assert harness.line(QUEUE) == released
        await harness.close()


async def test_what_was_answered_before_the_connection_broke_is_told(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = AsynqHarness(redis_server.addr)
    for _ in range(4):
        harness.enqueue(QUEUE, retention=60)
    backend = await harness.backend(QUEUE)
    batch = [completed(task, 3 * MIB // 4) for task in await backend.claim(4)]
    link = backend._settler._link
    really, writes = link.pipeline, 0

    async def lose_the_second(commands: Sequence[Sequence[Arg]], **options: Any) -> list[Any]:
        nonlocal writes
        writes += 1
        replies = await really(commands, **options)
        if writes == 2:
            raise BackendUnavailableError("the answer is lost")
        return replies

    monkeypatch.setattr(link, "pipeline", lose_the_second)
    with pytest.raises(BackendUnavailableError):
        await backend.settle(batch)
    assert [settlement.accepted for settlement in batch] == [None, None, None, True]
    assert harness.db.zcard(KEYS.completed) == 2
    assert await backend.settle(batch[:3]) == [True, True, False]
    assert harness.counts(QUEUE) == (4, 0)
    await harness.close()


async def test_an_outcome_that_redis_never_takes_is_given_up_and_its_neighbours_are_written(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--proto-max-bulk-len", "3mb") as server:
        harness = AsynqHarness(server.addr)
        ids = [harness.enqueue(QUEUE, retention=60) for _ in range(3)]
        backend = await harness.backend(QUEUE)
        tasks = await backend.claim(3)
        batch = [completed(task, size) for task, size in zip(tasks, (9, 4 * MIB, 9), strict=True)]
        with pytest.raises(BackendUnavailableError):
            await backend.settle(batch)
        assert [settlement.accepted for settlement in batch] == [True, None, True]
        for _ in range(3):
            with pytest.raises(BackendUnavailableError):
                await backend.settle(batch[1:2])
        assert await backend.settle(batch[1:2]) == [True]
        assert [harness.look(QUEUE, task_id).state for task_id in ids] == ["completed", "archived", "completed"]
        assert harness.db.hget(KEYS.task(ids[1]), "error_msg").startswith(b"its outcome of 41943")
        assert not harness.db.exists(KEYS.active, KEYS.lease)
        assert "outcome_too_large" in harness.recorder.actions()
        await harness.close()


async def test_an_outage_gives_up_no_large_outcome(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        harness = AsynqHarness(server.addr)
        task_id = harness.enqueue(QUEUE, retention=60)
        options = RedisOptions(addr=server.addr, connect_timeout=0.2, timeout=0.2)
        backend = await harness.backend(QUEUE, options=options)
        batch = [completed(task, 3 * MIB) for task in await backend.claim(1)]
        harness.db.replicaof("127.0.0.1", 1)
        for _ in range(7):
            with pytest.raises(BackendUnavailableError, match="READONLY"):
                await backend.settle(batch)
        harness.db.replicaof("NO", "ONE")
        server.pause()
        for _ in range(7):
            with pytest.raises(BackendUnavailableError):
                await backend.settle(batch)
        server.resume()
        backend.reconfigure(harness.options)
        await backend.settle(batch)  # what was sent into the pause may be done by now
        assert harness.look(QUEUE, task_id).state == "completed"
        assert "outcome_too_large" not in harness.recorder.actions()
        await harness.close()
