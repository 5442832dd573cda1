"""Finds JSON objects in a line that holds other text too: a print without a line break, output of two threads."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Found: TypeAlias = tuple[int, int, dict[str, Any]]
"""Where an object begins and ends, and roughly what is in it."""

_OBJECT = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder(strict=False, parse_int=float)
_SLACK = 64 * 1024
_ATTEMPT_COST = 32
_SEEK_COST = 1 / 32
"""Working out where in the text an attempt failed takes time too, if little."""
_WINDOW = 512
"""Characters that are looked at first, because most attempts fail early."""
_MARGIN = 16
"""A failure so near the window's end may be the window's doing."""


def find_objects(line: bytes, key: str) -> list[Found]:
    """Each outermost JSON object in the line that has `key`.

    The content serves to recognise the object only: its text is read as Latin-1, and integers as floats. The work is
    bounded by a few times the line's length; once that is spent, only objects that begin with `key` are looked for.
    """
    quoted = f'"{key}"'
    last = line.rfind(quoted.encode())
    if last < 0:
        return []
    text = line.decode("latin-1")
    found: list[Found] = []
    for pattern in (_OBJECT, re.compile(r"\{\s*" + re.escape(quoted))):
        found = []
        for candidate in _scan(text, pattern, key, last):
            if candidate is None:
                break
            if key in candidate[2]:
                found.append(candidate)
        else:
            break
    return found


def _scan(text: str, pattern: re.Pattern[str], key: str, last: int) -> Iterator[Found | None]:
    """Outermost objects that begin like `pattern` before `last`; None, and no more, when that takes too long.

    An object that has another under `key` is two prints around the one that is looked for.
    """
    budget = 4.0 * len(text) + _SLACK
    position = 0
    while (match := pattern.search(text, position)) is not None and match.start() < last:
        if budget <= 0:
            yield None
            return
        start = match.start()
        parsed, cost = _parse(text, start)
        budget -= cost
        if parsed is None or isinstance(parsed[1].get(key), dict):
            position = start + 1
        else:
            position, content = parsed
            yield start, position, content


def _parse(text: str, start: int) -> tuple[tuple[int, dict[str, Any]] | None, float]:
    """The object that begins at `start` with its end, if there is one, and what looking cost if there is none."""
    window = text[start : start + _WINDOW]
    try:
        content, length = _DECODER.raw_decode(window)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Unterminated") and error.pos < len(window) - _MARGIN:
            return None, _ATTEMPT_COST
    except RecursionError:
        return None, len(text) - start
    else:
        return (start + length, content), 0
    try:
        content, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return None, error.pos - start + error.pos * _SEEK_COST + _ATTEMPT_COST
    except RecursionError:
        return None, len(text) - start
    return (end, content), 0
