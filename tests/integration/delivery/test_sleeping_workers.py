from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

from support.field import children_of

if TYPE_CHECKING:
    from support.field import Field


def test_a_worker_that_slept_through_its_lease_settles_nothing_that_another_has_done(field: Field) -> None:
    field.settings["lease"] = {"duration": "600ms", "renew_every": "100ms", "recover_every": "100ms"}
    ids = field.put([{"sleep": 0.05, "say": number} for number in range(60)])
    sleeper, heir = field.quick(seed=1), field.quick(seed=2)
    for worker in (sleeper, heir):
        worker.wait_for_line("ready")
    children = children_of(sleeper)
    field.wait_until(lambda: {child.pid for child in children} & set(field.run_pids()), "the sleeper at work")

    sleeper.signal(signal.SIGSTOP)
    held = set(field.contents().active)
    field.wait_until(lambda: heir.lines("lease_recovered"), "the heir taking over")
    field.wait_until(lambda: not held & set(field.contents().active), "the heir being through with them")
    settled = field.client.get("asynq:{jobs.default}:processed")
    sleeper.signal(signal.SIGCONT)
    sleeper.wait_for(lambda: sleeper.lines("lease_lost"), "the sleeper noticing")
    assert settled is not None

    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids, at_most=2)
    assert field.client.get("asynq:{jobs.default}:processed") == str(len(ids))
    assert [worker.stop() for worker in (sleeper, heir)] == [0, 0]


def test_a_woken_worker_gives_up_a_task_that_another_is_running(field: Field) -> None:
    field.settings["lease"] = {"duration": "600ms", "renew_every": "100ms", "recover_every": "100ms"}
    field.settings["worker"]["concurrency"] = 1
    (task_id,) = field.put([{"sleep": 4, "say": "done"}])
    sleeper = field.quick(seed=1)
    field.wait_until(field.runs, "the task running")
    (first,) = field.run_pids()
    heir = field.quick(seed=2)
    heir.wait_for_line("ready")
    sleeper.signal(signal.SIGSTOP)
    field.wait_until(lambda: len(field.run_pids()) == 2, "the heir running it")
    sleeper.signal(signal.SIGCONT)
    sleeper.wait_for_line("lease_lost")
    time.sleep(3)  # by now the first run would have been through
    assert field.infos([task_id])[0].state == "active"
    field.wait_settled(1)
    info = field.infos([task_id])[0]
    assert (info.state, json.loads(info.result or b""), info.retried) == ("completed", "done", 0)
    assert field.runs()[task_id] == 2
    assert first not in [child.pid for child in children_of(heir)]


def test_a_nap_that_nobody_noticed_costs_nothing(field: Field) -> None:
    field.settings["lease"] = {"duration": "600ms", "renew_every": "100ms", "recover_every": "100ms"}
    ids = field.put([{"sleep": 0.02}] * 50)
    worker = field.quick()
    field.wait_until(lambda: len(field.runs()) > 5, "tasks running")
    worker.signal(signal.SIGSTOP)
    time.sleep(1.5)  # two leases long, and nobody there to take over
    worker.signal(signal.SIGCONT)
    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids)
    assert worker.lines("lease_lost") == []
