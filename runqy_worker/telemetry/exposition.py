"""Prometheus' text format, version 0.0.4.

Written here, in place of a library: writing it takes what is below, while importing prometheus-client takes 1.4 to
1.8 MiB in every worker of every host, and 60 ms or more of processor time at each start. Its parser judges the result
in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from runqy_worker.domain.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Metric:
    """What a metric means.

    Attributes:
        name: With its unit, and `_total` behind it for counters.
        kind: `counter`, `gauge` or `histogram`.
        help: One sentence.
        labels: Names of its labels.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()


@dataclass(slots=True)
class Family:
    """A metric with its values."""

    metric: Metric
    samples: list[tuple[tuple[str, ...], float | Histogram]] = field(default_factory=list)

    def add(self, value: float | Histogram, *labels: str) -> Family:
        """Another value, with a text for each label. Returns the family itself."""
        if len(labels) != len(self.metric.labels):
            raise ValueError(f"{self.metric.name} has the labels {self.metric.labels}, not {len(labels)}")
        self.samples.append((labels, value))
        return self


def render(families: Iterable[Family]) -> str:
    """The text. Families without values are left out."""
    return "".join(line for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    metric = family.metric
    yield f"# HELP {metric.name} {metric.help.translate(_HELP_ESCAPES)}\n# TYPE {metric.name} {metric.kind}\n"
    for values, value in family.samples:
        pairs = [f'{name}="{text.translate(_ESCAPES)}"' for name, text in zip(metric.labels, values, strict=True)]
        if isinstance(value, Histogram):
            yield from _buckets(metric.name, pairs, value)
        else:
            yield f"{metric.name}{_braced(pairs)} {number(value)}\n"


def _buckets(name: str, pairs: list[str], histogram: Histogram) -> Iterator[str]:
    totals = list(accumulate(histogram.counts))
    for bound, total in zip((*histogram.bounds, float("inf")), totals, strict=True):
        limit = f'le="{number(bound)}"'
        yield f"{name}_bucket{_braced([*pairs, limit])} {total}\n"
    yield f"{name}_sum{_braced(pairs)} {number(histogram.sum)}\n{name}_count{_braced(pairs)} {totals[-1]}\n"


def _braced(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def number(value: float) -> str:
    """A number as the format wants it."""
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(value)
