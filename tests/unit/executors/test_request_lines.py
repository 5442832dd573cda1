"""Requests: any task becomes exactly one valid line that carries its payload unchanged."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.domain.task import Task
from runqy_worker.executors.protocol import payload_json, request_line

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def task_with(payload: bytes, task_id: str = "id", kind: str = "kind", queue: str = "q.default") -> Task:
    return Task(task_id, kind, payload, queue, retried=2, max_retry=5)


def test_every_field_is_there_in_the_documented_order() -> None:
    assert request_line(task_with(b'{"a":  1}')) == (
        b'{"task_id":"id","type":"kind","payload":{"a":  1},"retry_count":2,"max_retry":5,"queue":"q.default"}\n'
    )


@given(payload=st.binary())
def test_any_bytes_become_exactly_one_valid_line(payload: bytes) -> None:
    check_line(request_line(task_with(payload)))


@given(value=JSON, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans(), crlf=st.booleans())
def test_json_arrives_as_it_was_on_one_line(value: Any, indent: int | None, ascii_only: bool, crlf: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    if crlf:
        text = text.replace("\n", "\r\n")
    try:
        payload = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8 form
        return
    assert check_line(request_line(task_with(payload)))["payload"] == value


@given(task_id=st.text(), kind=st.text(), queue=st.text())
def test_any_names_are_quoted(task_id: str, kind: str, queue: str) -> None:
    line = check_line(request_line(task_with(b"1", task_id, kind, queue)))
    assert (line["task_id"], line["type"], line["queue"]) == (task_id, kind, queue)


@pytest.mark.parametrize("name", ["\ud800", 'a"b\\c\n', "\u2028\x85\x7f"])
def test_awkward_names_are_quoted(name: str) -> None:
    assert check_line(request_line(task_with(b"1", name, name, name)))["task_id"] == name


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"hello",
        b"{",
        b"{'a': 1}",
        b"NaN",
        b"[Infinity]",
        b"01",
        b'"\n"',
        b'"\xff"',
        b"1 2",
        b"\xef\xbb\xbf1",
    ],
)
def test_what_is_not_json_becomes_null(payload: bytes) -> None:
    assert payload_json(payload) == b"null"


def test_nesting_that_no_reader_takes_becomes_null() -> None:
    assert payload_json(b"[" * 100_000 + b"]" * 100_000) == b"null"


@pytest.mark.parametrize("payload", [b'"\\ud800"', b'{"a":"\\udfff"}', b"1e999", b'"\xc3\xa9"', b"1" * 10_000])
def test_odd_but_valid_json_passes_unchanged(payload: bytes) -> None:
    assert payload_json(payload) == payload


def check_line(line: bytes) -> dict[str, Any]:
    """One line, readable by a strict parser in text mode with universal newlines."""
    assert line.endswith(b"}\n")
    assert b"\n" not in line[:-1]
    assert b"\r" not in line
    content: dict[str, Any] = json.loads(line.decode(), parse_constant=lambda _: math.nan)
    assert list(content) == ["task_id", "type", "payload", "retry_count", "max_retry", "queue"]
    return content
