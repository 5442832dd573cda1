"""What commands print about queues and tasks: tables for people, JSON for programs."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from runqy_worker.telemetry.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 80


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns, numbers to the right. Texts are made safe to print, and cut when they are long."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]
    lines = [header, *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """One line per fact, leaving out what is empty."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name + ':':<{width + 1}} {_cell(value, longest=10_000)}" for name, value in shown)


def when(seconds: float) -> str:
    """A moment in UTC; empty for 0."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if seconds else ""


def as_json(value: Any) -> str:
    """One line of JSON of a dataclass or a list of them. Bytes that are JSON are shown as such, others as text."""
    return msgspec.json.encode(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if dataclasses.is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, bytes):
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return value.decode(errors="replace")
    return value


def _cell(value: object, longest: int = _LONGEST) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if isinstance(value, float):
        text = f"{value:.1f}"
    text = one_line(text)
    return text if len(text) <= longest else text[: longest - 3] + "..."
