"""The operator's pages promise nothing that no test proves."""

from __future__ import annotations

import pytest
from support.pages import REFERENCE, ROOT, table, unknown_tests

from runqy_worker.service.exit_codes import ExitCode

PAGE = (ROOT / "docs/operations.md").read_text()
BAD_INPUT_PAGE = (ROOT / "docs/bad-input.md").read_text()
SECTION = "# Bad input and what it leads to"
KINDS = ("Configuration", "Server's answer", "Repository", "Requirements", "Task code", "Task messages")
FEWEST = 24

BAD_INPUT = [row for row in table(BAD_INPUT_PAGE, SECTION) if any(row[1:])]


def test_every_kind_of_input_is_in_the_table() -> None:
    assert len(BAD_INPUT) >= FEWEST
    assert [row[0].strip("*") for row in table(BAD_INPUT_PAGE, SECTION) if not any(row[1:])] == list(KINDS)


@pytest.mark.parametrize("row", BAD_INPUT, ids=lambda row: row[0])
def test_every_row_is_whole_and_its_test_exists(row: list[str]) -> None:
    assert len(row) == 4
    assert all(row)
    assert REFERENCE.fullmatch(row[3]), f"expected `tests/...py::test_name`, found {row[3]}"
    assert unknown_tests(row[3]) == []


def test_the_exit_codes_are_all_there() -> None:
    told = {int(code) for row in table(PAGE, "## Exit codes") for code in row[0].split(",")}
    assert told == {int(code) for code in ExitCode}
