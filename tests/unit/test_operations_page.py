"""The operator's page promises nothing that no test proves."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from runqy_worker.service.exit_codes import ExitCode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()
SECTION = "## Bad input and what it leads to"
KINDS = ("Configuration", "Server's answer", "Repository", "Requirements", "Task code", "Task messages")
FEWEST = 24
REFERENCE = re.compile(r"`(tests/\S+\.py)::(test_\w+)`\Z")


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading, without its head."""
    lines = PAGE.partition(f"\n{heading}\n")[2].splitlines()
    rows = [line for line in lines[: end_of_section(lines)] if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))] for row in rows[2:]]


def end_of_section(lines: list[str]) -> int:
    """The number of the line where the next section begins."""
    return next((number for number, line in enumerate(lines) if line.startswith("## ")), len(lines))


BAD_INPUT = [row for row in table(SECTION) if any(row[1:])]


@cache
def named_tests(path: str) -> frozenset[str]:
    """The names of the test functions of a file."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions)


def test_every_kind_of_input_is_in_the_table() -> None:
    assert len(BAD_INPUT) >= FEWEST
    assert [row[0].strip("*") for row in table(SECTION) if not any(row[1:])] == list(KINDS)


@pytest.mark.parametrize("row", BAD_INPUT, ids=lambda row: row[0])
def test_every_row_is_whole_and_its_test_exists(row: list[str]) -> None:
    assert len(row) == 4
    assert all(row)
    reference = REFERENCE.match(row[3])
    assert reference, f"expected `tests/...py::test_name`, found {row[3]}"
    path, name = reference.groups()
    assert (ROOT / path).is_file(), f"{path} does not exist"
    assert name in named_tests(path), f"{path} has no {name}"


def test_the_exit_codes_are_all_there() -> None:
    told = {int(code) for row in table("## Exit codes") for code in row[0].split(",")}
    assert told == {int(code) for code in ExitCode}
