"""What task code prints, before it reaches the log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.domain.events import Notice, Silent
from runqy_worker.executors import output
from runqy_worker.executors.exits import describe_death, describe_exit
from runqy_worker.executors.notices import EVERY, LimitedNotices
from runqy_worker.executors.output import LONGEST, MASK, TAIL, Masker, OutputLimit, OutputLog

if TYPE_CHECKING:
    import pytest

    from runqy_worker.domain.task import Task


class Heard(Silent):
    """Keeps lines and notices."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notices: list[Notice] = []

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        self.lines.append(line)

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)


class StoppedClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


async def test_tail_keeps_the_last_lines_of_both_streams_and_the_last_words() -> None:
    log = OutputLog(Heard(), OutputLimit(Silent()), Masker(()))
    for number in range(30):
        log.line("stderr" if number % 2 else "stdout", b"line %d" % number, None)
    log.line("stderr", b"  ", None)
    assert list(log.tail) == [*[f"line {number}" for number in range(30 - TAIL + 1, 30)], "  "]
    assert log.ending() == ": line 29"


async def test_lines_are_decoded_stripped_and_cut() -> None:
    heard = Heard()
    log = OutputLog(heard, OutputLimit(heard), Masker(()))
    log.line("stdout", b"caf\xc3\xa9 \xff\r", None)
    log.line("stdout", b"x" * 100_000, None)
    assert heard.lines == ["caf\u00e9 \ufffd", "x" * LONGEST + " [cut]"]


async def test_limit_lets_so_many_pass_and_reports_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "PER_SECOND", 5)
    heard = Heard()
    limit = OutputLimit(heard)
    assert [limit.admit() for _ in range(8)] == [True] * 5 + [False] * 3
    assert heard.notices == []
    limit.close()
    (notice,) = heard.notices
    assert notice.action == "task_output_left_out"
    assert notice.fields == {"lines": 3}
    assert limit.admit()
    limit.close()
    await asyncio.sleep(0)
    assert len(heard.notices) == 1


@given(st.lists(st.text(min_size=6), max_size=5), st.lists(st.text(), max_size=5))
def test_no_secret_line_survives_masking(secrets: list[str], texts: list[str]) -> None:
    between = " | ".join([*texts, *secrets])
    masked = Masker(secrets).mask(between)
    for secret in secrets:
        for line in secret.splitlines():
            if len(line.strip()) >= 6:
                assert line.strip() not in masked.replace(MASK, "\0")


def test_longer_secrets_go_first_and_short_ones_stay() -> None:
    assert Masker(("abcdef", "abcdefghi", "abc")).mask("abcdefghi abcdef abc") == "*** *** abc"


def test_notices_of_one_kind_are_spaced_and_counted() -> None:
    heard, clock = Heard(), StoppedClock()
    notices = LimitedNotices(heard, clock)
    for _ in range(4):
        notices.emit("dropped", "an answer was dropped")
    notices.emit("mended", "an answer was mended")
    assert [notice.action for notice in heard.notices] == ["dropped", "mended"]
    clock.now += EVERY
    notices.emit("dropped", "an answer was dropped", pid=5)
    assert heard.notices[-1].message == "an answer was dropped (and 3 more since the last such line)"
    assert heard.notices[-1].fields == {"pid": 5, "left_out": 3}


def test_words_for_the_end_of_a_process() -> None:
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-11) == "signal SIGSEGV"
    assert describe_exit(-9) == "signal SIGKILL (maybe out of memory)"
    assert describe_exit(-99) == "signal 99"
    assert describe_death(0, "") == "process exited without being asked (exit code 0)"
    assert describe_death(1, "") == "process died (exit code 1)"
    assert describe_death(-15, "closed its stdout") == "process closed its stdout"
