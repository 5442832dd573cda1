"""Recognising what went wrong from the words of other programs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Meaning:
    """What certain words mean.

    Attributes:
        pattern: The words, as a regular expression that ignores case; compiled only once something went wrong.
        text: What to tell; `{name}` stands for a fact or a named group of the pattern.
        retryable: Whether time alone may heal it.
    """

    pattern: str
    text: str
    retryable: bool = False


def explain(meanings: Iterable[Meaning], tail: Sequence[str], facts: Mapping[str, str]) -> tuple[str, bool] | None:
    """The text and retryability of the first meaning that fits the lines; None when none does."""
    said = "\n".join(tail)
    for one in meanings:
        match = re.search(one.pattern, said, re.IGNORECASE)
        if match:
            groups = {name: value or "" for name, value in match.groupdict().items()}
            return one.text.format_map(_Facts({**facts, **groups})), one.retryable
    return None


class _Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return f"the {key.replace('_', ' ')}"
