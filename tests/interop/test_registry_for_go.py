"""Our worker in asynq's list of servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.backends.asynq.registry import AsynqRegistry
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.registry import RunningTask, WorkerSnapshot

if TYPE_CHECKING:
    from support.asynq_go import Asynq
    from support.asynq_world import World

pytestmark = pytest.mark.interop


async def test_the_inspector_lists_our_worker_and_what_it_runs(asynq: Asynq, world: World) -> None:
    registry = AsynqRegistry(world.options, listener=world.recorder, clock=SystemClock())
    running = [
        RunningTask("a", "work", b'{"n":1}', "q1.a", started_at=1_700_000_100, deadline=1_700_000_200),
        RunningTask("b", "work", b"", "q1.b", started_at=1_700_000_101, deadline=0),
    ]
    snapshot = WorkerSnapshot(
        worker_id="host-1:77:deadbeef",
        host="host-1",
        pid=77,
        started_at=1_700_000_000,
        concurrency=4,
        queues={"q1.a": 5, "q1.b": 1},
        strict_priority=True,
        status="running",
        healthy=True,
        running=running,
    )
    await registry.beat(snapshot, [])
    (server,) = asynq("servers")
    workers = sorted(server.pop("workers"), key=lambda worker: str(worker["task_id"]))
    assert server == {
        "id": "host-1:77:deadbeef",
        "host": "host-1",
        "pid": 77,
        "concurrency": 4,
        "queues": {"q1.a": 5, "q1.b": 1},
        "strict_priority": True,
        "started": 1_700_000_000,
        "status": "active",
    }
    assert workers == [
        {
            "task_id": "a",
            "type": "work",
            "payload": '{"n":1}',
            "queue": "q1.a",
            "started": 1_700_000_100,
            "deadline": 1_700_000_200,
        },
        {"task_id": "b", "type": "work", "payload": "", "queue": "q1.b", "started": 1_700_000_101, "deadline": 0},
    ]
    await registry.leave(snapshot.worker_id)
    assert asynq("servers") == []
    await registry.close()
