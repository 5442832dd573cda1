"""The registry's protobuf messages, byte for byte."""

from __future__ import annotations

from runqy_worker.backends.asynq.registry import queues_of, server_info, worker_fields, worker_info
from runqy_worker.domain.registry import RunningTask, WorkerSnapshot


def snapshot(queues: dict[str, int], *, quiet: bool = False) -> WorkerSnapshot:
    return WorkerSnapshot(
        worker_id="h:7",
        host="h",
        pid=7,
        started_at=1_700_000_000,
        concurrency=4,
        queues=queues,
        strict_priority=False,
        status="running",
        healthy=True,
        quiet=quiet,
    )


def test_a_server_is_encoded_as_asynq_does_it() -> None:
    golden = "0a016810071a03683a3720042a0b0a0764656661756c7410033a0661637469766542060880e2cfaa06"
    assert server_info(snapshot({"default": 3})).hex() == golden


def test_the_queues_of_a_server_are_read_back() -> None:
    assert queues_of(server_info(snapshot({"low": 1, "high": 9}))) == {"low", "high"}
    assert queues_of(server_info(snapshot({}))) == set()


def test_a_quiet_server_is_stopped() -> None:
    assert b"stopped" in server_info(snapshot({"default": 3}, quiet=True))


def test_a_task_without_limit_has_the_deadline_that_go_calls_zero() -> None:
    task = RunningTask("a", "work", b"{}", "default", started_at=1_700_000_000, deadline=0)
    assert worker_info(snapshot({}), task).hex().endswith("4a0b088092b8c398feffffff01")


def test_queues_are_written_as_go_prints_a_map() -> None:
    assert worker_fields(snapshot({}), 5)["queues"] == "map[]"
    assert worker_fields(snapshot({"b": 2, "a": 1}), 5)["queues"] == "map[a:1 b:2]"
