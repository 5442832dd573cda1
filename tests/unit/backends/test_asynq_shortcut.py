"""The quick way to read a task says what the thorough one says, or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.backends.asynq.codec import TaskMessage, decode_message, encode_headers, encode_message
from runqy_worker.backends.asynq.shortcut import read_quickly

REST = (
    "queue",
    "retry",
    "retried",
    "error_msg",
    "timeout",
    "deadline",
    "unique_key",
    "retention",
    "group_key",
    "headers",
)


@given(
    kind=st.text(max_size=200),
    payload=st.binary(max_size=400),
    task_id=st.text(min_size=1, max_size=60),
    retry=st.integers(0, 2**31 - 1),
    retried=st.integers(0, 40),
    timeout=st.integers(0, 2**40),
    unique_key=st.sampled_from(["", "lock"]),
    error=st.sampled_from(["", "boom"]),
    headers=st.sampled_from([b"", encode_headers({"trace": "1"})]),
)
def test_it_reads_what_the_decoder_reads(  # noqa: PLR0917 - one for each field that matters
    kind: str,
    payload: bytes,
    task_id: str,
    retry: int,
    retried: int,
    timeout: int,
    unique_key: str,
    error: str,
    headers: bytes,
) -> None:
    message = TaskMessage(
        kind, payload, task_id, "q.a", retry, retried, error, timeout, unique_key=unique_key, headers=headers
    )
    for _ in range(2):  # the second time the rest is known
        quick = read_quickly(encode_message(message), task_id.encode())
        if quick is None:
            assert not kind or len(kind.encode()) > 127 or len(task_id.encode()) > 127
        else:
            assert quick[:2] == (kind, payload)
            assert {name: getattr(quick[2], name) for name in REST} == {name: getattr(message, name) for name in REST}


@given(data=st.binary(max_size=120))
def test_bytes_of_any_kind_are_refused_or_read_alike(data: bytes) -> None:
    quick = read_quickly(data, b"id")
    if quick is not None:
        message = decode_message(data)
        assert (message.type, message.payload) == quick[:2]


@pytest.mark.parametrize("again", [b"\x0a\x01x", b"\x12\x01x", b"\x1a\x01x"])
def test_a_field_that_comes_again_is_left_to_the_decoder(again: bytes) -> None:
    data = encode_message(TaskMessage("t", b"{}", "id", "q.a", 3)) + again
    assert read_quickly(data, b"id") is None
