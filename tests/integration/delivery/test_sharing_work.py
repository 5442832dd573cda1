from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

from support.field import QUEUE

if TYPE_CHECKING:
    from support.field import Field


def test_no_task_waits_at_a_busy_worker_while_another_is_idle(field: Field) -> None:
    field.settings["worker"]["concurrency"] = 1
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    for worker in workers:
        worker.wait_for_line("ready")
    # Short tasks teach both workers to fetch ahead; each long one then stands before many that are short.
    short = field.put([{}] * 2_000, prefix="a")
    (long,) = field.put([{"sleep": 4}], prefix="long")
    more = field.put([{}] * 1_000, prefix="b")
    field.wait_settled(len(short) + len(more), seconds=30)
    assert field.contents().active == [long]
    order = [line.split()[0] for line in field.runs_file.read_text().splitlines()]
    assert order[-1] != long
    field.wait_settled(len(short) + len(more) + 1)
    field.assert_all_completed_once([*short, long, *more])
    assert {worker.stop() for worker in workers} == {0}


def test_a_mix_of_short_and_long_tasks_is_done_once_by_both(field: Field) -> None:
    field.settings["worker"]["concurrency"] = 1
    rng = random.Random(6)
    ids = field.put([{"sleep": rng.choice([0] * 20 + [0.1])} for _ in range(800)])
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids)
    shares = [field.run_pids().count(pid) for pid in set(field.run_pids())]
    assert len(shares) == 2
    assert min(shares) > len(ids) / 5
    assert {worker.stop() for worker in workers} == {0}


def test_a_stream_of_single_tasks_is_shared_and_none_is_lost(field: Field) -> None:
    workers = [field.quick(seed=seed) for seed in (1, 2, 3)]
    for worker in workers:
        worker.wait_for_line("ready")
    ids: list[str] = []
    rng = random.Random(9)
    for turn in range(150):
        ids += field.put([{"sleep": rng.choice([0, 0, 0.02])}] * rng.randrange(1, 4), prefix=f"s{turn:03d}-")
    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids)
    assert {worker.stop() for worker in workers} == {0}


def test_pausing_while_tasks_flow_holds_them_and_resuming_lets_them_go(field: Field) -> None:
    ids = field.put([{"sleep": 0.002}] * 1_000)
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    paused = f"asynq:{{{QUEUE}}}:paused"
    for _ in range(3):
        begun = len(field.runs())
        field.wait_until(lambda begun=begun: len(field.runs()) > begun + 100, "tasks running")  # type: ignore[misc]
        field.client.set(paused, "1")
        field.wait_until(lambda: not field.contents().active, "the running ones ending")
        held = len(field.runs())
        more = field.put([{}], prefix=f"p{held}-")
        ids += more
        field.wait_until(lambda: not field.contents().active, "nothing running")
        assert len(field.runs()) == held
        assert field.contents().pending
        field.client.delete(paused)
    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids)
    assert {worker.stop() for worker in workers} == {0}


def test_quiet_workers_give_back_what_they_have_not_begun(field: Field) -> None:
    ids = field.put([{"sleep": 0.01}] * 200)
    worker = field.quick()
    field.wait_until(lambda: len(field.runs()) > 30, "tasks running")
    for _ in range(3):
        worker.signal(signal.SIGTSTP)
        field.wait_until(lambda: not field.contents().active, "nothing in hand")
        assert field.contents().pending
        worker.signal(signal.SIGCONT)
        begun = len(field.runs())
        field.wait_until(lambda begun=begun: len(field.runs()) > begun, "its going on")  # type: ignore[misc]
    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids)
    assert worker.stop() == 0
