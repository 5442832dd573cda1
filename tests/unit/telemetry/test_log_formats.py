"""Log lines as people, collectors and the journal see them."""

from __future__ import annotations

import json
import logging
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captured_log import Captured

from runqy_worker.domain.task import Task
from runqy_worker.telemetry.escaping import folded, json_line, one_line
from runqy_worker.telemetry.formats import ConsoleFormatter, JournalFormatter, JsonFormatter
from runqy_worker.telemetry.records import emit

STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ")


def record(message: str, level: int = logging.INFO, *, task: Task | None = None, **more: object) -> logging.LogRecord:
    captured = Captured()
    source = str(more.pop("source", "worker"))
    emit(captured.logger, level, message, action="something_happened", task=task, source=source, fields=more)
    captured.records[0].name = "runqy_worker"
    return captured.records[0]


def console(entry: logging.LogRecord) -> str:
    return STAMP.sub("", ConsoleFormatter(colour=False).format(entry))


def test_console_shows_level_message_and_fields() -> None:
    task = Task("abc", "resize", b"{}", "images.high", retried=2)
    line = console(record("deployed", task=task, release="4f1c", seconds=1.5, note="two words", names=("a", "b")))
    assert line == (
        'INFO    deployed  task_id=abc queue=images.high attempt=3 release=4f1c seconds=1.5 note="two words" names=a,b'
    )


def test_console_does_not_repeat_the_id_that_the_message_names() -> None:
    task = Task("abc", "resize", b"{}", "images.high")
    assert console(record("task abc started", task=task)) == "INFO    task abc started  queue=images.high attempt=1"


def test_console_begins_with_a_local_time_in_milliseconds() -> None:
    formatter = ConsoleFormatter(colour=False)
    first, second = record("one"), record("two")
    first.created, second.created = 1_700_000_000.25, 1_700_000_000.9994
    lines = [formatter.format(first), formatter.format(second)]
    assert all(STAMP.match(line) for line in lines)
    assert lines[0][20:23] == "250"
    assert lines[1][20:23] == "999"


def test_console_colours_by_level_when_asked() -> None:
    line = ConsoleFormatter(colour=True).format(record("it broke", logging.ERROR, key="value"))
    assert line.startswith("\x1b[31m")
    assert line.endswith("\x1b[2m key=value\x1b[0m")


def test_what_task_code_printed_is_told_apart() -> None:
    assert console(record("loading weights", source="stderr")) == "INFO    stderr | loading weights"


FORGED = "done\n2026-01-01 00:00:00.000 ERROR   forged\r\x1b[2J\u2028\u202eend\ud800"


def test_a_line_break_can_not_forge_a_console_line() -> None:
    first, second = ConsoleFormatter(colour=False).format(record(FORGED)).split("\n")
    assert STAMP.match(first)
    assert first.endswith("done")
    assert second == "    | 2026-01-01 00:00:00.000 ERROR   forged\\r\\x1b[2J\\u2028\\u202eend\\ud800"


def test_a_line_break_in_a_field_is_escaped() -> None:
    line = console(record("hello", value="a\nb", other="\x1b[31m"))
    assert line == 'INFO    hello  value="a\\\\nb" other="\\\\x1b[31m"'


def test_a_line_break_can_not_claim_another_priority_in_the_journal() -> None:
    text = JournalFormatter().format(record("fine\n<0>the host is on fire", logging.WARNING))
    assert text.split("\n") == ["<4>fine", "<4>    | <0>the host is on fire"]


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<2>"),
    ],
)
def test_the_journal_gets_syslog_priorities_and_no_time(level: int, prefix: str) -> None:
    assert JournalFormatter().format(record("hello", level, key=1)) == f"{prefix}hello key=1"


def test_json_is_one_object_with_every_fact() -> None:
    task = Task("abc", "resize", b"{}", "images.high", retried=2)
    entry = record("it\nbroke", logging.ERROR, task=task, source="stderr", seconds=1.5, nested={"a": [1, None]})
    entry.created = 1_700_000_000.25
    line = JsonFormatter().format(entry)
    assert "\n" not in line
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "level": "error",
        "message": "it\nbroke",
        "action": "something_happened",
        "task_id": "abc",
        "queue": "images.high",
        "attempt": 3,
        "source": "stderr",
        "fields": {"seconds": 1.5, "nested": {"a": [1, None]}},
    }


def test_json_leaves_out_what_is_not_there_and_survives_odd_values() -> None:
    document = json.loads(JsonFormatter().format(record("x", ratio=float("nan"), path=object)))
    assert set(document) == {"ts", "level", "message", "action", "fields"}
    assert document["fields"] == {"ratio": "nan", "path": "<class 'object'>"}


def test_a_traceback_follows_as_continuation_lines() -> None:
    try:
        int("first\nsecond")
    except ValueError:
        entry = logging.LogRecord("x", logging.ERROR, __file__, 1, "it broke", (), sys.exc_info())
    lines = ConsoleFormatter(colour=False).format(entry).split("\n")
    assert lines[0].endswith("ERROR   it broke")
    assert lines[1] == "    | Traceback (most recent call last):"
    assert all(line.startswith("    | ") for line in lines[1:])
    assert all(line.startswith("<3>") for line in JournalFormatter().format(entry).split("\n"))
    assert json.loads(JsonFormatter().format(entry))["exception"].endswith("'first\\nsecond'")


@given(st.text())
def test_no_text_breaks_out_of_its_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1
    assert all(line.startswith("    | ") for line in folded(text).splitlines()[1:])
    line = json_line({"message": text})
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {"message": text}
