from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.field import Field

TASKS = 10_000


@pytest.mark.parametrize("manner", ["exit", "kill"])
def test_one_poison_task_among_ten_thousand_is_archived_alone(field: Field, manner: str) -> None:
    payloads: list[object] = [{}] * TASKS
    payloads[3_000] = {"die": manner}
    ids = field.put(payloads)
    poison = ids.pop(3_000)
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    field.wait_settled(TASKS, seconds=90)

    (info,) = field.infos([poison])
    assert (info.state, info.retried) == ("archived", 2)
    assert info.error.startswith("poison: 3 process deaths charged to this task")
    runs = field.runs()
    assert 3 <= runs[poison] <= 6
    # A neighbour that had begun when the process died runs again; a serial process has begun one only.
    field.assert_all_completed_once(ids)
    assert all(worker.lines("executor_degraded") == [] for worker in workers)
    assert [worker.stop() for worker in workers] == [0, 0]


def test_many_poison_tasks_degrade_no_worker(field: Field) -> None:
    payloads: list[object] = [{"die": "exit"} if number % 100 == 50 else {} for number in range(1_000)]
    ids = field.put(payloads)
    poison = ids[50::100]
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    field.wait_settled(len(ids), seconds=60)

    infos = field.infos(poison)
    assert {(info.state, info.retried) for info in infos} == {("archived", 2)}
    field.assert_all_completed_once([task_id for task_id in ids if task_id not in poison])
    assert all(worker.lines("executor_degraded") == [] for worker in workers)
