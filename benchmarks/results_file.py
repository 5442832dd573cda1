"""The file that keeps what a run measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure, from_json

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Results:
    """One run.

    Attributes:
        machine: What it ran on.
        amounts: How much was measured.
        figures: What was measured.
        check: Ratios that `benchmarks.check` compares with: by name, one number for each round.
    """

    machine: dict[str, Any]
    amounts: dict[str, Any]
    figures: list[Figure]
    check: dict[str, list[float]] = field(default_factory=dict)


def write(path: Path, results: Results) -> None:
    """Write it, numbers with seven digits, short lists on one line."""
    document = {
        "machine": results.machine,
        "amounts": results.amounts,
        "figures": [_rounded(figure.as_json()) for figure in results.figures],
        "check": _rounded(results.check),
    }
    path.write_text(_laid_out(document) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """Read what `write` wrote."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    figures = [from_json(entry) for entry in document["figures"]]
    return Results(document["machine"], document["amounts"], figures, document["check"])


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(entry) for entry in value]
    return value


def _laid_out(value: Any, indent: str = "") -> str:
    """JSON with lists of numbers on one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        entries = [f"{inner}{json.dumps(key)}: {_laid_out(entry, inner)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        return "[\n" + ",\n".join(inner + _laid_out(entry, inner) for entry in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
