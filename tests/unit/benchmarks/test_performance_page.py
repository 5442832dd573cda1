"""docs/performance.md shows what is stored, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import check, page, picture, results_file, table
from benchmarks.figures import Figure, Target, at_least, at_most, from_json, quantile, ratio_at_most
from benchmarks.results_file import Results

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/performance.md"


@pytest.fixture(scope="module")
def stored() -> Results:
    """What the page says that it shows."""
    return results_file.read(PAGE.parent / page.source_of(PAGE.read_text()))


def test_the_tables_are_those_of_the_stored_run(stored: Results) -> None:
    text = PAGE.read_text()
    assert page.put(text, page.render(stored, page.source_of(text))) == text, "run `make bench`, or benchmarks.page"


@pytest.mark.parametrize("name", ["throughput.svg", "latency.svg"])
def test_the_pictures_are_drawn_from_the_stored_run(stored: Results, name: str) -> None:
    drawing = (picture.FOLDER / name).read_text()
    assert picture.digest(stored) in drawing, "run `make bench`, or benchmarks.picture"
    assert f"pictures/{name}" in PAGE.read_text()


def test_the_stored_ratios_can_be_compared_with() -> None:
    committed = results_file.read(check.COMMITTED).check
    assert committed
    assert all(len(rounds) == check.BASELINE_ROUNDS for rounds in committed.values())


def test_every_figure_has_a_title_for_its_family(stored: Results) -> None:
    assert {figure.family for figure in stored.figures} == set(page.TITLES)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    figure = Figure("family", "name", "ms", [1.0, 3.0, 2.0], [4.0], "loop", at_least(0.4))
    results = Results({"cores": 2}, {"tasks": 5}, [figure], {"ratio": [1.0, 1.5]})
    path = tmp_path / "results.json"
    results_file.write(path, results)
    assert results_file.read(path) == results
    assert from_json(figure.as_json()) == figure


def test_targets() -> None:
    def met(value: float, target: Target | None) -> bool | None:
        return Figure("f", "n", "ms", [value], [2.0], "loop", target).met

    assert met(1.8, at_least(0.9))
    assert not met(1.7, at_least(0.9))
    assert met(2.2, ratio_at_most(1.2))
    assert not met(2.5, ratio_at_most(1.2))
    assert met(1.2, at_most(1.2))
    assert not met(1.3, at_most(1.2))
    assert met(1.0, None) is None


def test_a_figure_is_the_median_of_its_rounds() -> None:
    figure = Figure("f", "n", "tasks/s", [30_000.0, 10_000.0, 20_000.0], [5_000.0, 8_000.0, 10_000.0], "loop")
    assert figure.value == 20_000
    assert figure.ratio == 2.5


def test_quantiles_are_samples() -> None:
    samples = [float(n) for n in range(1, 101)]
    assert [quantile(samples, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert quantile([7.0], 0.99) == 7


def test_the_terminal_table_lines_up_and_shouts_at_a_missed_target() -> None:
    figures = [
        Figure("a", "fast", "tasks/s", [34_000.0], [32_000.0], "loop", at_least(1.0)),
        Figure("b", "slow", "ms", [9.5], target=at_most(6.0)),
    ]
    lines = table.text(figures).splitlines()
    assert lines[2].split() == ["fast", "34,000", "tasks/s", "loop:", "32,000", "tasks/s", "1.06", "≥", "1", "yes"]
    assert lines[4].split() == ["slow", "9.50", "ms", "≤", "6", "ms", "NO"]
    assert lines[0].index("met") == lines[2].index("yes") == lines[4].index("NO")
    assert table.verdict(figures) == "1 of 2 targets are met; not: slow."


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        page.put("# Performance\n", "")
