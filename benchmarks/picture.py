"""Draw the pictures of docs/performance.md from a stored run: `python -m benchmarks.picture RESULTS.json`."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import results_file, throughput

if TYPE_CHECKING:
    from benchmarks.figures import Figure
    from benchmarks.results_file import Results

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
QUANTILES = 201
_INK, _GRID = "#6e7781", "#8c959f"
_BLUE, _ORANGE, _GREEN, _PURPLE, _PINK = "#2f81f7", "#db6d28", "#3fb950", "#a371f7", "#db61a2"  # on white and black
_DARK = (
    "<style>@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 !important } }"
    " text { font-family: system-ui, sans-serif !important }</style>"
)
_LONG_NUMBER = re.compile(r"\d+\.\d{2,}")


def worker_curve(results: Results) -> list[tuple[int, Figure]]:
    """Throughput figures by concurrency."""
    found = []
    for figure in results.figures:
        match = re.fullmatch(r"throughput, concurrency (\d+)", figure.name)
        if match:
            found.append((int(match[1]), figure))
    return sorted(found, key=lambda pair: pair[0])


def distributions(results: Results) -> list[tuple[str, Figure]]:
    """Latency figures that carry their whole distribution, with a label each."""
    whole = [figure for figure in results.figures if len(figure.rounds) == QUANTILES]
    return [(figure.name.replace("enqueue to settled", "").replace("p50", "").strip(", "), figure) for figure in whole]


def digest(results: Results) -> str:
    """Names the data that is drawn; stands in each picture, so that a stale one can be told."""
    drawn: list[Any] = [[at, figure.as_json()] for at, figure in worker_curve(results)]
    drawn += [[label, list(figure.rounds)] for label, figure in distributions(results)]
    return hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()[:16]


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the pictures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_throughput(results, folder / "throughput.svg"), _latency(results, folder / "latency.svg")]


def _throughput(results: Results, path: Path) -> Path:
    figure, axes = _canvas("tasks in hand at once", "tasks/s")
    curve = worker_curve(results)
    at = [concurrency for concurrency, _ in curve]
    values = [one.value for _, one in curve]
    spread = [[one.value - min(one.rounds), max(one.rounds) - one.value] for _, one in curve]
    axes.errorbar(at, values, yerr=list(zip(*spread, strict=True)), color=_BLUE, marker="o", capsize=3, label="worker")
    for name, colour in ((throughput.SERIAL, _ORANGE), (throughput.PING_PONG, _GREEN)):
        beside = next(one for _, one in curve if one.reference_name == name)
        axes.axhline(beside.reference_value, color=colour, linestyle="--", label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(at, [str(concurrency) for concurrency in at])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return _save(figure, path, results)


def _latency(results: Results, path: Path) -> Path:
    figure, axes = _canvas("milliseconds from enqueuing to settled", "share of tasks")
    shares = [step / (QUANTILES - 1) for step in range(QUANTILES)]
    for (label, one), colour in zip(distributions(results), (_GREEN, _BLUE, _PURPLE, _PINK, _ORANGE), strict=False):
        axes.plot(one.rounds, shares, color=colour, label=label)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20, 50]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks([0, 0.5, 0.9, 1], ["0", "50 %", "90 %", "100 %"])
    return _save(figure, path, results)


def _canvas(x: str, y: str) -> tuple[Any, Any]:
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "runqy-worker", "font.size": 9})
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(6.4, 3.0), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_xlabel(x, color=_INK)
    axes.set_ylabel(y, color=_INK)
    axes.tick_params(colors=_INK)
    axes.grid(color=_GRID, alpha=0.3, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GRID)
    return figure, axes


def _save(figure: Any, path: Path, results: Results) -> Path:
    figure.legend(frameon=False, labelcolor=_INK, loc="outside upper center", ncols=4)
    about = {"Date": None, "Description": f"data {digest(results)}"}
    figure.savefig(path, format="svg", metadata=about)
    head, tag, rest = path.read_text(encoding="utf-8").partition("<defs>")
    short = _LONG_NUMBER.sub(lambda match: f"{float(match[0]):.1f}", rest)
    path.write_text(
        "\n".join(line.rstrip() for line in (head + _DARK + "\n " + tag + short).splitlines()) + "\n", encoding="utf-8"
    )
    return path


def main() -> None:
    """Draw what the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture", description=__doc__)
    parser.add_argument("results", type=Path, help="what `python -m benchmarks --json` wrote")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    args = parser.parse_args()
    for path in draw(results_file.read(args.results), args.folder):
        print(path)


if __name__ == "__main__":
    main()
