"""Write a stored run's tables into docs/performance.md: `python -m benchmarks.page RESULTS.json`."""

from __future__ import annotations

import argparse
import os
import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import results_file, table

if TYPE_CHECKING:
    from benchmarks.results_file import Results

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin (written by `make bench`) -->\n", "<!-- figures: end -->"
TITLES = {
    "throughput": "Throughput",
    "latency": "Latency",
    "one_shot": "One-shot tasks",
    "payloads": "Large payloads",
    "scale": "Much of everything",
    "memory": "Memory",
    "startup": "Start",
}
PICTURES = {
    "throughput": "![Throughput against concurrency, with the two reference loops](pictures/throughput.svg)",
    "latency": "![How latency is distributed](pictures/latency.svg)",
}
_SOURCE = re.compile(r"Stored in \[[^]]*\]\((?P<path>[^)]*)\)")


def render(results: Results, source: str) -> str:
    """What stands between the markers.

    Args:
        results: The run.
        source: Where it is stored, relative to the page.
    """
    parts = [_circumstances(results, source), table.verdict(results.figures)]
    for family, figures in groupby(results.figures, key=lambda figure: figure.family):
        parts.append(f"### {TITLES[family]}")
        if family in PICTURES:
            parts.append(PICTURES[family])
        parts.append(table.markdown(figures).rstrip("\n"))
    return "\n" + "\n\n".join(parts) + "\n\n"


def _circumstances(results: Results, source: str) -> str:
    """What was measured, on what, and where it is kept."""
    machine, amounts = results.machine, results.amounts
    sentences = [
        f"{machine['cores']} cores of {machine['cpu']} ({machine['architecture']}),",
        f"{machine['memory_mib'] / 1024:.0f} GiB; {machine['system']}, kernel {machine['kernel']},",
        f"Python {machine['python']}, Redis {machine['redis']}.",
        f"Medians of {amounts['rounds']} interleaved rounds;",
        f"{amounts['tasks']:,} tasks for each throughput figure, {amounts['one_shot_tasks']} for one-shot;",
        f"{amounts['samples']:,} tasks for each latency figure, {amounts['one_shot_samples']} for one-shot.",
        f"Meanwhile other programs took {machine['others_cpu']:.1%} of the CPU.",
        f"Stored in [{Path(source).name}]({source}), with each round.",
    ]
    return " ".join(sentences)


def source_of(page: str) -> str:
    """Where the run is stored that the page shows, relative to the page."""
    match = _SOURCE.search(page)
    if match is None:
        raise ValueError("the page does not say where its figures are stored")
    return match["path"]


def put(page: str, text: str) -> str:
    """The page with `text` between its markers."""
    if BEGIN not in page or END not in page:
        raise ValueError(f"the page lacks the markers {BEGIN.strip()!r} and {END!r}")
    return page.partition(BEGIN)[0] + BEGIN + text + END + page.partition(END)[2]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("results", type=Path, help="what `python -m benchmarks --json` wrote")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    args = parser.parse_args()
    source = Path(os.path.relpath(args.results.resolve(), args.page.resolve().parent)).as_posix()
    text = render(results_file.read(args.results), source)
    args.page.write_text(put(args.page.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    main()
