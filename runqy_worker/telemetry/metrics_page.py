"""Writes docs/metrics.md from the catalog: `python -m runqy_worker.telemetry.metrics_page > docs/metrics.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.telemetry.counts import BOUNDS
from runqy_worker.telemetry.metric_catalog import SECTIONS

if TYPE_CHECKING:
    from runqy_worker.telemetry.exposition import Metric

_TEMPLATE = Path(__file__).with_name("metrics_page.md")


def render() -> str:
    """The whole page as Markdown."""
    page = _TEMPLATE.read_text(encoding="utf-8")
    page = page.replace("{first}", f"{BOUNDS[0]:g}").replace("{last}", f"{BOUNDS[-1]:g}")
    return page.replace("{metrics}", "\n\n".join(_section(name) for name in SECTIONS))


def _section(name: str) -> str:
    lines = [f"### {name}", "", "| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    return "\n".join([*lines, *map(_row, SECTIONS[name])])


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


if __name__ == "__main__":
    sys.stdout.write(render())
