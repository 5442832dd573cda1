"""The page about scaling says what was measured, and nothing else."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks.fleet.page import PAGE, RESULTS, render
from benchmarks.fleet.tables import BLOCKS, table

RESULTS_NOW = json.loads(RESULTS.read_text())


def test_the_figures_of_the_page_are_those_of_the_results() -> None:
    page = PAGE.read_text()
    assert page == render(page, RESULTS_NOW), "run: python -m benchmarks.fleet.page"


def test_the_page_shows_every_block_once() -> None:
    shown = re.findall(r"<!-- figures: (\w+) -->", PAGE.read_text())
    assert sorted(shown) == sorted(BLOCKS)


def test_what_goes_beyond_the_measured_says_so() -> None:
    largest = max(figures["workers"] for figures in RESULTS_NOW["idle"])
    for name in ("idle", "sizing"):
        for row in BLOCKS[name](RESULTS_NOW)[2:]:
            count = row.split("|")[1].split()
            assert (int(count[0].replace(",", "")) > largest) == (count[-1] == "(extrapolated)")


def test_a_block_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeyError, match="weather"):
        render("<!-- figures: weather -->\n<!-- end of figures -->\n", RESULTS_NOW)


def test_rendering_twice_changes_nothing() -> None:
    once = render(PAGE.read_text(), RESULTS_NOW)
    assert render(once, RESULTS_NOW) == once


def test_tables_have_a_cell_for_each_head() -> None:
    assert table(("a", "b"), [("x", 1234), ("y", 1234.56), ("z", 0.5)]) == [
        "| a | b |",
        "| --- | ---: |",
        "| x | 1,234 |",
        "| y | 1,235 |",
        "| z | 0.5 |",
    ]
