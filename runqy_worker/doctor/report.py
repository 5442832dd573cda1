"""What was found, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from runqy_worker.doctor.finding import Level
from runqy_worker.telemetry.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runqy_worker.doctor.examining import Result

    Examined = Mapping[str, Sequence[Result]]

_WIDTH = max(len(level.value) for level in Level)


def count(examined: Examined) -> Counter[Level]:
    """How many findings there are of each level."""
    return Counter(finding.level for results in examined.values() for result in results for finding in result.findings)


def as_text(examined: Examined) -> str:
    """A heading per worker, a line per finding, and what to do below it."""
    return "\n".join([*_lines(examined), _summary(examined)])


def as_json(examined: Examined) -> str:
    """One object: `problems`, `warnings`, and `examined`, a list with the `findings` of each worker."""
    levels = count(examined)
    listed = [{"name": name, "findings": [*_plain(results)]} for name, results in examined.items()]
    document = {"problems": levels[Level.PROBLEM], "warnings": levels[Level.WARNING], "examined": listed}
    return json.dumps(document, ensure_ascii=False)


def _plain(results: Sequence[Result]) -> Iterator[dict[str, str]]:
    for result in results:
        for finding in result.findings:
            yield {
                "check": result.check,
                "level": finding.level.value,
                "found": finding.found,
                "advice": finding.advice,
            }


def _lines(examined: Examined) -> Iterator[str]:
    for name, results in examined.items():
        yield f"{name}:"
        width = max((len(result.check) for result in results), default=0)
        for result in results:
            for finding in result.findings:
                level = finding.level.value
                shown = level.upper() if finding.level is Level.PROBLEM else level
                yield f"  {shown:<{_WIDTH}}  {result.check:<{width}}  {one_line(finding.found)}"
                if finding.advice:
                    yield f"  {'':<{_WIDTH}}  {'':<{width}}  -> {one_line(finding.advice)}"
        yield ""


def _summary(examined: Examined) -> str:
    levels = count(examined)
    problems, warnings = levels[Level.PROBLEM], levels[Level.WARNING]
    return f"{_number(problems, 'problem')}, {_number(warnings, 'warning')}"


def _number(amount: int, word: str) -> str:
    return f"{amount or 'no'} {word}{'' if amount == 1 else 's'}"
