"""The page of promises names tests that exist, and shows the figures that the last long run stored."""

from __future__ import annotations

import json

from chaos.summary import BEGIN, END, RESULTS, inserted, render
from support.pages import REFERENCE, ROOT, named_tests, table, unknown_tests

PAGE = (ROOT / "docs/reliability.md").read_text()
PROMISES = table(PAGE, "## The promises")


def test_every_promise_has_tests_and_they_exist() -> None:
    assert len(PROMISES) >= 9
    assert [promise for promise, *_, tests in PROMISES if not REFERENCE.search(tests)] == []
    assert unknown_tests(PAGE) == []


def test_the_accounts_are_those_of_the_last_long_run() -> None:
    assert inserted(PAGE, render(json.loads(RESULTS.read_text()))) == PAGE
    assert PAGE.index(BEGIN) < PAGE.index(END)


def test_every_scenario_is_among_the_accounts() -> None:
    scenarios = {account["scenario"].partition("[")[0] for account in json.loads(RESULTS.read_text())["accounts"]}
    files = sorted((ROOT / "tests/chaos").glob("test_*.py"))
    names = {name for file in files for name in named_tests(str(file.relative_to(ROOT))) if name.startswith("test_")}
    assert {name.removeprefix("test_").replace("_", " ") for name in names} == scenarios
