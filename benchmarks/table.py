"""Figures as a table: for the terminal, and in Markdown."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.figures import Figure, Target

HEAD = ("figure", "measured", "compared with", "ratio", "target", "met")
_RIGHT = {1, 3, 4}
"""Columns of numbers."""


def number(value: float, unit: str) -> str:
    """With as many digits as mean something."""
    whole = value >= (100 if unit == "tasks/s" else 1000)
    digits = 0 if whole else 1 if value >= 20 else 2
    return f"{value:,.{digits}f} {unit}"


def target(wanted: Target | None, unit: str) -> str:
    """The limit in words."""
    if wanted is None:
        return ""
    sign = "≤" if wanted.most else "≥"
    return f"{sign} {wanted.limit:g}" if wanted.of_ratio else f"{sign} {wanted.limit:g} {unit}"


def row(figure: Figure) -> tuple[str, ...]:
    """The cells of one figure."""
    reference = figure.reference_value
    return (
        figure.name,
        number(figure.value, figure.unit),
        f"{figure.reference_name}: {number(reference, figure.unit)}" if reference is not None else "",
        f"{figure.ratio:.2f}" if figure.ratio is not None else "",
        target(figure.target, figure.unit),
        {True: "yes", False: "NO", None: ""}[figure.met],
    )


def text(figures: Iterable[Figure]) -> str:
    """For the terminal: one block per family, columns aligned over all of them."""
    blocks = [(family, [row(figure) for figure in group]) for family, group in groupby(figures, key=lambda f: f.family)]
    rows = [HEAD, *(cells for _, group in blocks for cells in group)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEAD))]
    lines = [_aligned(HEAD, widths)]
    for family, group in blocks:
        lines += [f"-- {family.replace('_', '-')} ".ljust(sum(widths) + 2 * len(widths) - 2, "-")]
        lines += [_aligned(cells, widths) for cells in group]
    return "\n".join(lines) + "\n"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if column in _RIGHT else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def markdown(figures: Iterable[Figure]) -> str:
    """For a page: figures in rows; a missed target stands out."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|--:|---|--:|--:|---|"]
    for figure in figures:
        cells = [cell.replace("|", "\\|") for cell in row(figure)]
        cells[-1] = "**no**" if cells[-1] == "NO" else cells[-1]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def verdict(figures: Iterable[Figure]) -> str:
    """How many targets are met, and which are not."""
    judged = [figure for figure in figures if figure.met is not None]
    missed = [figure.name for figure in judged if not figure.met]
    if not missed:
        return f"All {len(judged)} targets are met."
    return f"{len(judged) - len(missed)} of {len(judged)} targets are met; not: {'; '.join(missed)}."
