"""The page, the dashboard and the alerts name the metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
import yaml
from support.pages import ROOT
from support.tools import needed

from runqy_worker.telemetry.exposition import COUNTER, HISTOGRAM
from runqy_worker.telemetry.metric_catalog import METRICS
from runqy_worker.telemetry.metrics_page import render

PROMETHEUS = ROOT / "packaging/prometheus"
DASHBOARD = json.loads((ROOT / "packaging/grafana/runqy-worker.json").read_text())
ALERTS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PROMTOOL = "apt-get install --no-install-recommends prometheus"
NAME = re.compile(r"(?<![\w:])(?:runqy_worker|process)_\w+")
LABELS = re.compile(r"((?:runqy_worker|process)_\w+)\{([^}]*)\}")
SUFFIXES = ("_bucket", "_sum", "_count")
SERIES = {metric.name: metric for metric in METRICS} | {
    metric.name + suffix: metric for metric in METRICS if metric.kind == HISTOGRAM for suffix in SUFFIXES
}
TARGET_LABELS = {"job", "instance", "le"}


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel.get("targets", [])]


QUERIES = [
    *(rule["expr"] for rule in RULES),
    *(query for panel in DASHBOARD["panels"] for query in expressions(panel)),
    *(each.get("definition", "") for each in DASHBOARD["templating"]["list"]),
    *(each["expr"] for each in DASHBOARD["annotations"]["list"]),
]


def test_the_page_is_the_generated_one() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert page == render(), "run: python -m runqy_worker.telemetry.metrics_page > docs/metrics.md"


def test_every_metric_is_named_once_and_as_prometheus_wants_it() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert [metric.name for metric in METRICS if metric.name.endswith("_total") is not (metric.kind == COUNTER)] == []
    assert [metric.name for metric in METRICS if not metric.help.endswith(".")] == []


def test_queries_name_metrics_that_there_are() -> None:
    named = {name for query in QUERIES for name in NAME.findall(query)}
    assert named - SERIES.keys() == set()
    assert len(named) > 20


def test_queries_ask_for_labels_that_the_metrics_have() -> None:
    for name, selectors in (found for query in QUERIES for found in LABELS.findall(query)):
        labels = set(re.findall(r"(\w+)\s*=", selectors))
        assert labels <= {*SERIES[name].labels, *TARGET_LABELS}, name


def test_records_that_alerts_use_are_recorded() -> None:
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    used = {name for rule in RULES if "alert" in rule for name in re.findall(r"\w+:\w+:\w+", rule["expr"])}
    assert used <= recorded


def test_every_alert_says_what_it_is_about() -> None:
    for rule in RULES:
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}
            assert set(rule["annotations"]) == {"summary", "description"}


def test_every_panel_is_a_panel_with_a_place_of_its_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize(
    "query", sorted({query for query in QUERIES if query and not query.startswith("label_values")})
)
def test_every_query_is_read_by_prometheus(tmp_path: Any, query: str) -> None:
    """As a rule, since that is what promtool reads."""
    rule = {"record": "a:b:c", "expr": query.replace("$__rate_interval", "5m")}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]}))
    promtool("check", "rules", str(tmp_path / "rules.yml"))


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("check", "config", "scrape.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_promtool_approves(arguments: tuple[str, ...]) -> None:
    promtool(*arguments)


def test_every_alert_is_tried_in_the_rules_test() -> None:
    tested = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())
    tried = {
        each["alertname"] for test in tested["tests"] for each in test["alert_rule_test"] if each.get("exp_alerts")
    }
    assert {rule["alert"] for rule in RULES if "alert" in rule} == tried


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        [needed("promtool", PROMTOOL), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
