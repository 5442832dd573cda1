"""Prometheus' own parser reads back what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.http_probe import Metrics

from runqy_worker.domain.histogram import Histogram
from runqy_worker.telemetry.exposition import COUNTER, GAUGE, HISTOGRAM, Family, Metric, number, render

DONE = Metric("tasks_total", COUNTER, "What was done.", ("queue", "outcome"))
LOAD = Metric("load", GAUGE, "How\nbusy \\ it is.")
WAIT = Metric("wait_seconds", HISTOGRAM, "How long.", ("queue",))


def test_a_counter_with_labels() -> None:
    family = Family(DONE).add(3, "a.high", "completed").add(0, "a.high", "archived")
    assert render([family]) == (
        "# HELP tasks_total What was done.\n# TYPE tasks_total counter\n"
        'tasks_total{queue="a.high",outcome="completed"} 3\ntasks_total{queue="a.high",outcome="archived"} 0\n'
    )


def test_help_stays_in_its_line() -> None:
    text = render([Family(LOAD).add(0.5)])
    assert text == "# HELP load How\\nbusy \\\\ it is.\n# TYPE load gauge\nload 0.5\n"
    (family,) = text_string_to_metric_families(text)
    assert family.documentation == LOAD.help


def test_a_histogram_is_cumulative_and_ends_with_all() -> None:
    histogram = Histogram((0.1, 1))
    for value in (0.05, 0.05, 0.5, 7):
        histogram.add(value)
    metrics = Metrics(render([Family(WAIT).add(histogram, "a")]))
    buckets = [metrics.value("wait_seconds_bucket", queue="a", le=le) for le in ("0.1", "1", "+Inf")]
    assert buckets == [2, 3, 4]
    assert metrics.value("wait_seconds_count", queue="a") == 4
    assert metrics.value("wait_seconds_sum", queue="a") == pytest.approx(7.6)


def test_a_family_without_values_is_left_out() -> None:
    assert render([Family(DONE), Family(LOAD).add(1)]).startswith("# HELP load")


def test_a_label_that_is_missing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"tasks_total has the labels \('queue', 'outcome'\), not 1"):
        Family(DONE).add(1, "a")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.floats(allow_nan=False))
def test_any_label_and_any_number_come_back(label: str, value: float) -> None:
    (family,) = text_string_to_metric_families(render([Family(DONE).add(value, label, "x")]))
    (sample,) = family.samples
    assert sample.labels == {"queue": label, "outcome": "x"}
    assert sample.value == value


@pytest.mark.parametrize(
    ("value", "text"), [(True, "1"), (0, "0"), (2.0, "2"), (1e-05, "1e-05"), (float("inf"), "+Inf")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
