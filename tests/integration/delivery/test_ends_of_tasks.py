from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.field import QUEUE

if TYPE_CHECKING:
    from support.field import Field


def test_a_cancelled_task_is_archived_and_its_neighbours_are_not_charged(field: Field) -> None:
    field.settings["process"]["cancel_grace"] = "200ms"
    victim = field.put([{"sleep": 60}], prefix="victim")
    ids = field.put([{"sleep": 0.01}] * 50)
    worker = field.quick()
    field.wait_until(lambda: victim[0] in field.runs(), "the task running")
    field.client.publish("asynq:cancel", victim[0])
    field.wait_settled(1 + len(ids))
    (info,) = field.infos(victim)
    assert (info.state, info.error, info.retried) == ("archived", "cancelled", 0)
    field.assert_all_completed_once(ids)
    assert field.runs()[victim[0]] == 1
    assert worker.stop() == 0


def test_many_cancellations_at_once_hit_only_what_runs(field: Field) -> None:
    field.settings["process"]["cancel_grace"] = "100ms"
    victims = field.put([{"sleep": 60}] * 3, prefix="victim")
    ids = field.put([{}] * 200)
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    cancelled: set[str] = set()
    deadline = time.monotonic() + 30
    while field.settled_count() < len(victims) + len(ids):
        assert time.monotonic() < deadline, field.summary()
        running = set(victims) & set(field.runs())
        for task_id in running | {"unknown", "t00000"}:
            field.client.publish("asynq:cancel", task_id)
        cancelled |= running
        time.sleep(0.05)
    assert {info.state for info in field.infos(victims)} == {"archived"}
    assert {info.state for info in field.infos(ids[1:])} == {"completed"}
    assert all(field.runs()[task_id] == 1 for task_id in victims)
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_timeout_in_a_serial_process_charges_no_neighbour(field: Field) -> None:
    late = field.put([{"sleep": 60}] * 2, prefix="late", timeout=1, max_retry=1)
    ids = field.put([{}] * 100)
    worker = field.quick()
    field.wait_settled(len(late) + len(ids))
    infos = field.infos(late)
    assert {(info.state, info.retried, info.error) for info in infos} == {
        ("archived", 1, "timeout: ran longer than 1s")
    }
    assert [field.runs()[task_id] for task_id in late] == [2, 2]
    field.assert_all_completed_once(ids)
    assert {info.reruns for info in field.infos(ids)} == {0}
    assert worker.stop() == 0


def test_what_waited_too_long_is_archived_once_without_running(field: Field) -> None:
    deadline = int(time.time()) + 1
    late = field.put([{}] * 50, prefix="late", deadline=deadline)
    stale = field.put([{}] * 50, prefix="stale")
    for task_id in stale:
        field.client.hset(f"asynq:{{{QUEUE}}}:t:{task_id}", "pending_timeout", "1")
    ids = field.put([{}] * 50)
    field.wait_until(lambda: time.time() > deadline + 1, "their time being up")
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    field.wait_settled(150)
    assert {(info.state, info.error) for info in field.infos(late)} == {
        ("archived", "deadline passed before the task could run")
    }
    assert {(info.state, info.error.split(":")[0], info.retried) for info in field.infos(stale)} == {
        ("archived", "pending timeout", 0)
    }
    assert not set(late + stale) & set(field.runs())
    field.assert_all_completed_once(ids)
    assert field.client.get(f"asynq:{{{QUEUE}}}:failed") == "100"
    assert field.client.get(f"asynq:{{{QUEUE}}}:processed") == "150"
    assert [worker.stop() for worker in workers] == [0, 0]
