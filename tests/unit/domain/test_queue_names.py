"""How queues are named by those who enqueue."""

from __future__ import annotations

import pytest

from runqy_worker.domain.queues import enqueue_target


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("inference", "inference.default"),
        ("inference.high", "inference.high"),
        ("inference:high", "inference.high"),
        ("a.b:c", "a.b:c"),
    ],
)
def test_a_task_lands_where_workers_of_that_name_look(name: str, queue: str) -> None:
    assert enqueue_target(name) == queue
