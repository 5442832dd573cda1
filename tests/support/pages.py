"""Pages of the documentation, as tests read them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r"`(tests/\S+\.py)::(test_\w+)`")
"""How a page names the test that proves a claim."""


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading, without its head."""
    lines = f"\n{page}".partition(f"\n{heading}\n")[2].splitlines()
    section = next((number for number, line in enumerate(lines) if line.startswith("## ")), len(lines))
    rows = [line for line in lines[:section] if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))] for row in rows[2:]]


@cache
def named_tests(path: str) -> frozenset[str]:
    """The names of the test functions of a file; none where there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text() if file.is_file() else "")
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions)


def unknown_tests(text: str) -> list[str]:
    """The references in a text that lead nowhere."""
    return [f"{path}::{name}" for path, name in REFERENCE.findall(text) if name not in named_tests(path)]
