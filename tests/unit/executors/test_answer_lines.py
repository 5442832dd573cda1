"""Answers: whatever surrounds or disfigures them, none is lost and none is made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.domain.outcome import Completed, Failed, Outcome
from runqy_worker.executors.lines import Cut
from runqy_worker.executors.protocol import (
    ErrorSignal,
    ReadySignal,
    Scraped,
    read_answer,
    read_signal,
    scrape,
    task_id_at_start,
)

NO_MESSAGE = "the task code gave no message"


def understand(line: bytes) -> list[tuple[str, Outcome]]:
    """What a child's line says, read as the executors read it."""
    answer = read_answer(line)
    if answer is not None:
        return [answer]
    return [(piece.task_id, piece.outcome) for piece in scrape(line) if isinstance(piece, Scraped)]


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ('"result": {"a" : 1}, "error": null, "retry": false', Completed(b'{"a" : 1}')),
        ('"result": null, "error": null, "retry": false', Completed(b"null")),
        ('"error": null, "retry": false', Completed(None)),
        ('"result": "\u00e9"', Completed('"\u00e9"'.encode())),
        ('"result": null, "error": "no", "retry": true', Failed("no (will retry)", retryable=True)),
        ('"result": null, "error": "no", "retry": false', Failed("permanent failure: no", retryable=False)),
        ('"error": "no"', Failed("permanent failure: no", retryable=False)),
        ('"error": "no", "retry": null', Failed("permanent failure: no", retryable=False)),
        ('"error": "no", "retry": 1', Failed("no (will retry)", retryable=True)),
        ('"error": {"code": 5}', Failed('permanent failure: {"code": 5}', retryable=False)),
        ('"error": "", "result": 1', Completed(b"1")),
        ('"error": "", "result": null', Failed(f"permanent failure: {NO_MESSAGE}", retryable=False)),
        ('"error": "", "retry": true', Failed(f"{NO_MESSAGE} (will retry)", retryable=True)),
        ('"result": "\\ud800"', Completed(b'"\\ud800"')),
        ('"result": 1, "extra": [1, {"task_id": "other", "result": 2}]', Completed(b"1")),
    ],
)
def test_meaning_of_an_answer(fields: str, outcome: Outcome) -> None:
    for line in (f'{{"task_id": "t", {fields}}}', f'{{{fields}, "task_id": "t"}}', f'  {{"task_id":"t",{fields}}} \r'):
        assert understand(line.encode()) == [("t", outcome)]


def test_answer_without_any_field_is_a_success_without_a_result() -> None:
    assert understand(b'{"task_id": "t"}') == [("t", Completed(None))]


def test_numeric_id_is_taken_as_text() -> None:
    assert understand(b'{"task_id": 17, "result": 1}') == [("17", Completed(b"1"))]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"{}",
        b"[1, 2]",
        b'{"result": 1}',
        b'{"task_id": null, "result": 1}',
        b'{"task_id": "t", "progress": 50}',
        b'{"event": "loaded", "task_id": "t"}',
        b'{"outer": {"task_id": "t", "result": 1}}',
        b'{"task_id": "t", "result": ',
        b'"task_id"',
        b"\xff\xfe\xfd",
    ],
)
def test_what_is_no_answer_is_print(line: bytes) -> None:
    assert read_answer(line) is None
    assert scrape(line) == ([line] if line else [])


def test_beginning_of_a_line_that_is_too_long_is_never_an_answer() -> None:
    line = Cut(b'print {"task_id": "t", "result": 1}')
    assert scrape(line) == [line]
    assert task_id_at_start(Cut(b' {"task_id" : "t-1", "result": "xxxx')) == "t-1"
    assert task_id_at_start(Cut(b'print {"task_id": "t"')) is None


@pytest.mark.parametrize(
    ("result", "mended", "note"),
    [
        (b"NaN", b"null", "NaN became null"),
        (b"[-Infinity, 1]", b"[null, 1]", "-Infinity became null"),
        (b'"\xff"', b'"\\ufffd"', "bytes that are not UTF-8 became U+FFFD"),
        (b'"a\tb"', b'"a\\tb"', ""),
        (b'{"name": "\xff", "n": ' + b"9" * 5000 + b"}", b'{"name": "\\ufffd", "n": Infinity}', None),
    ],
)
def test_answers_that_are_not_quite_json_are_mended(result: bytes, mended: bytes, note: str | None) -> None:
    line = b'{"task_id": "t", "result": ' + result + b"}"
    assert read_answer(line) is None
    (piece,) = scrape(line)
    assert isinstance(piece, Scraped)
    if note is not None:
        assert piece == Scraped("t", Completed(mended), note)


def test_error_text_of_any_bytes_can_be_stored() -> None:
    ((_, outcome),) = understand(b'{"task_id": "t", "error": "\\ud800 \xff"}')
    assert isinstance(outcome, Failed)
    outcome.error.encode()


def test_nesting_that_can_not_be_read_fails_its_task() -> None:
    line = b'{"task_id": "t", "result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert understand(line) == [("t", Failed("permanent failure: the answer is nested too deeply", retryable=False))]


ANSWERS = st.builds(
    lambda task_id, result: json.dumps({"task_id": task_id, "result": result, "error": None, "retry": False}).encode(),
    st.sampled_from(["a", "b-\u00e9", "c" * 36]),
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
)
PRINTS = st.one_of(
    st.text().map(str.encode),
    st.binary(),
    st.sampled_from(
        [b"hello", b"{", b'{"', b'{"x": [1, ', b"}", b'"', b'\\"', b"[[[", b'{"task_id": ', b'{"task_id": "a", "resu']
    ),
).map(lambda text: text.replace(b"\n", b" "))


@given(pieces=st.lists(st.tuples(PRINTS, ANSWERS), min_size=1, max_size=4), end=PRINTS)
def test_any_mixture_of_prints_and_answers_loses_no_answer(pieces: list[tuple[bytes, bytes]], end: bytes) -> None:
    line = b"".join(printed + answer for printed, answer in pieces) + end
    expected = [(content["task_id"], content["result"]) for content in (json.loads(answer) for _, answer in pieces)]
    found = [(task_id, json.loads(outcome.result or b"")) for task_id, outcome in completed(understand(line))]
    assert found == expected


def completed(answers: list[tuple[str, Outcome]]) -> list[tuple[str, Completed]]:
    return [(task_id, outcome) for task_id, outcome in answers if isinstance(outcome, Completed)]


def test_answer_between_two_prints_that_look_like_its_frame_is_found() -> None:
    assert understand(b'{"task_id": {"task_id": "t", "result": 1}}') == [("t", Completed(b"1"))]


@pytest.mark.parametrize("noise", [b"{" * 300_000, b'{"a":[' * 50_000, b'{"a": "' * 50_000, b'{"task_id": "' * 50_000])
def test_work_on_hostile_prints_is_bounded_and_the_answer_found(noise: bytes) -> None:
    assert understand(noise + b' {"task_id": "t", "result": 1}') == [("t", Completed(b"1"))]


@pytest.mark.parametrize(
    ("line", "signal"),
    [
        ('{"status": "ready"}', ReadySignal(None)),
        ('{"status":"ready","concurrency":4}', ReadySignal(4)),
        ('{"concurrency": 1, "status": "ready"}', ReadySignal(1)),
        ('{"status": "ready", "concurrency": 0}', ReadySignal(None)),
        ('{"status": "ready", "concurrency": "many"}', ReadySignal(None)),
        ('Loading... 100%{"status": "ready"}', ReadySignal(None)),
        ('{"status": "error", "error": "caf\u00e9 is closed"}', ErrorSignal("caf\u00e9 is closed")),
        ('{"status": "error"}', ErrorSignal(NO_MESSAGE)),
        ('{"status": "error", "error": ["a"]}', ErrorSignal('["a"]')),
        ('{"status": "loading"}', None),
        ("status: ready", None),
        ("", None),
    ],
)
def test_signals_of_the_start(line: str, signal: Any) -> None:
    assert read_signal(line.encode()) == signal
