"""The rules that give an attempt its limits, and a result its stored form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.backends.asynq.codec import TaskMessage, decode_message, encode_message
from runqy_worker.backends.asynq.records import Record, TaskReader, completed_message, guard_result, retention_of
from runqy_worker.config.model import LifecycleConfig

if TYPE_CHECKING:
    from runqy_worker.domain.task import Task


def read(
    message: TaskMessage,
    since: bytes | None = None,
    extras: list[bytes | None] | None = None,
    lifecycle: LifecycleConfig | None = None,
) -> Task:
    reader = TaskReader(lifecycle or LifecycleConfig(), 3)
    return reader.read((encode_message(message), since, b"id-1", extras, None), "q.a", "w/1", 5.0)


@pytest.mark.parametrize(
    ("timeout", "deadline", "config", "own", "expected"),
    [
        (0, 0, 0, None, 1800),
        (60, 0, 0, None, 60),
        (0, 2_000_000_000, 0, None, 0),
        (60, 2_000_000_000, 0, None, 60),
        (60, 0, 10, None, 10),
        (60, 0, 100, None, 60),
        (0, 0, 10, None, 10),
        (0, 2_000_000_000, 10, None, 10),
        (60, 0, 10, b"30", 30),
        (60, 0, 10, b"0", 60),
        (60, 0, 10, b"nonsense", 10),
        (60, 0, 10, b"-5", 10),
    ],
)
def test_an_attempts_time_is_the_least_of_its_limits(
    timeout: int, deadline: int, config: float, own: bytes | None, expected: float
) -> None:
    message = TaskMessage(type="t", timeout=timeout, deadline=deadline)
    extras = [None, None, None, None, None, own]
    task = read(message, extras=extras, lifecycle=LifecycleConfig(active_timeout=config))
    assert (task.timeout, task.deadline) == (expected, deadline)


@pytest.mark.parametrize(
    ("in_message", "in_hash", "expected"), [(2, None, 2), (2, b"5", 5), (7, b"5", 7), (2, b"?", 2)]
)
def test_failures_are_the_most_that_anyone_counted(in_message: int, in_hash: bytes | None, expected: int) -> None:
    extras = [in_hash, None, None, None, None, None]
    assert read(TaskMessage(retried=in_message), extras=extras).retried == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(None, 0), (b"1700000000500000000", 1_700_000_000.5), (b"1700000000", 1_700_000_000), (b"x", 0)],
)
def test_pending_since_is_read_in_both_units(raw: bytes | None, expected: float) -> None:
    assert read(TaskMessage(), raw).pending_since == expected


def test_the_tasks_own_pending_timeout_wins() -> None:
    lifecycle = LifecycleConfig(pending_timeout=20)
    assert read(TaskMessage(), lifecycle=lifecycle).pending_timeout == 20
    own: list[bytes | None] = [None, b"1", b"2", None, b"7", None]
    task = read(TaskMessage(), extras=own, lifecycle=lifecycle)
    assert (task.pending_timeout, task.deaths, task.reruns) == (7, 1, 2)


def test_a_task_of_plain_fields_gets_the_configured_retries() -> None:
    reader = TaskReader(LifecycleConfig(), 3)
    bare = reader.read((None, None, b"id-1", None, [b"work", b"{}", None]), "q.a", "w/1", 5.0)
    assert (bare.id, bare.type, bare.payload, bare.max_retry, bare.timeout) == ("id-1", "work", b"{}", 3, 1800)
    own = reader.read((None, None, b"id-1", None, [b"work", None, b"9"]), "q.a", "w/1", 5.0)
    assert (own.payload, own.max_retry) == (b"", 9)


@pytest.mark.parametrize(
    ("message", "own", "configured", "expected"),
    [
        (60, None, None, 60),
        (60, None, 5.0, 5),
        (60, None, 0.0, 0),
        (60, 7.0, 5.0, 7),
        (60, 0.0, 5.0, 0),
        (0, None, 0.2, 1),
    ],
)
def test_retention_is_the_servers_word_then_ours_then_the_tasks(
    message: int, own: float | None, configured: float | None, expected: int
) -> None:
    record = Record(TaskMessage(retention=message), b"", b"")
    record.ttl_completed = own
    assert retention_of(record, LifecycleConfig(ttl_completed=configured)) == expected


@pytest.mark.parametrize("completed_at", [0, 5])
@pytest.mark.parametrize("retention", [60, 90])
@pytest.mark.parametrize("is_stored", [True, False])
def test_a_completed_message_differs_in_two_fields_only(completed_at: int, retention: int, *, is_stored: bool) -> None:
    message = TaskMessage("t", b"{}", "i", "q", 3, retention=60, completed_at=completed_at, unknown=b"\xa0\x06\x01")
    stored = encode_message(message)
    record = Record(decode_message(stored), stored if is_stored else b"", b"")
    for _ in range(2):
        message.retention, message.completed_at = retention, 1_700_000_000
        assert decode_message(completed_message(record, retention, 1_700_000_000)) == message


@pytest.mark.parametrize("result", [b"true", b"null", b"1234", b"12345678", b"abc=", b"ab\r\n12"])
def test_results_that_pass_for_base64_get_a_space(result: bytes) -> None:
    assert guard_result(result) == result + b" "


@pytest.mark.parametrize("result", [b"", b"false", b"123", b'"abcd"', b'{"a":1}', b"[1]", b"-123", b"1.25", b"12 4"])
def test_other_results_stay_as_they_are(result: bytes) -> None:
    assert guard_result(result) == result


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_a_guarded_result_is_the_same_json(value: object) -> None:
    raw = json.dumps(value).encode()
    assert json.loads(guard_result(raw)) == value
