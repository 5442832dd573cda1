from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from support.field import children_of, is_gone

if TYPE_CHECKING:
    import psutil
    from support.field import Field

TASKS = 2_000
KILLS = 6


def test_a_daemon_killed_again_and_again_loses_nothing(field: Field) -> None:
    rng = random.Random(20)
    ids = field.put([{"sleep": rng.choice([0, 0, 0.002, 0.01])} for _ in range(TASKS)])
    worker = field.quick(seed=1)
    worker.wait_for_line("ready")
    in_hand: set[str] = set()
    orphans: list[psutil.Process] = []
    for kill in range(KILLS):
        begun = sum(field.runs().values())
        worker.wait_for(lambda begun=begun: sum(field.runs().values()) > begun + 20, "more tasks begun")  # type: ignore[misc]
        time.sleep(rng.uniform(0, 0.3))
        orphans += children_of(worker)
        worker.end()
        in_hand.update(field.contents().active)
        worker = field.quick(seed=2 + kill)
    field.wait_settled(TASKS, seconds=60)

    field.assert_all_completed_once(ids, at_most=1 + KILLS)
    twice = {task_id for task_id, count in field.runs().items() if count > 1}
    assert twice <= in_hand
    assert [process for process in orphans if not is_gone(process)] == []
    assert worker.stop() == 0


def test_another_worker_takes_over_within_the_lease(field: Field) -> None:
    field.settings["lease"] = {"duration": "1s", "renew_every": "200ms", "recover_every": "300ms"}
    ids = field.put([{"sleep": 0.01}] * 400)
    doomed, heir = field.quick(seed=1), field.quick(seed=2)
    for worker in (doomed, heir):
        worker.wait_for_line("ready")
    field.wait_until(lambda: sum(field.runs().values()) > 50, "tasks running")
    doomed.end()
    killed_at = time.monotonic()
    left = set(field.contents().active)
    assert left
    field.wait_until(lambda: not left & set(field.contents().active), "their being taken over", seconds=10)
    field.wait_settled(len(ids))
    assert time.monotonic() - killed_at < 20
    field.assert_all_completed_once(ids, at_most=2)
    assert {task_id for task_id, count in field.runs().items() if count > 1} <= left


def test_a_task_that_kills_its_daemon_does_not_do_so_for_ever(field: Field) -> None:
    field.settings["lease"] = {"duration": "300ms", "renew_every": "60ms", "recover_every": "100ms"}
    field.settings["worker"]["concurrency"] = 1
    field.settings["recovery"] |= {"max_reruns": 1, "max_deaths": 2}
    (killer,) = field.put([{"die": "daemon"}])
    innocents = field.put([{}] * 20, prefix="i")
    deaths = 0
    deadline = time.monotonic() + 60
    while field.settled_count() < 21:
        assert time.monotonic() < deadline
        worker = field.quick(seed=deaths)
        field.wait_until(lambda w=worker: w.process.poll() is not None or field.settled_count() == 21, "its death")  # type: ignore[misc]
        deaths += worker.process.poll() is not None
    (info,) = field.infos([killer])
    assert info.state == "archived"
    assert info.error.startswith("poison: 2 process deaths charged to this task")
    assert deaths == 4  # a death is charged for every second one
    field.assert_all_completed_once(innocents, at_most=4)
