"""From text to a typed value, as a setting's kind asks, and back to text for people."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runqy_worker.config.masking import quoted
from runqy_worker.config.units import format_duration, format_size, parse_bool, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runqy_worker.config.catalog import Entry
    from runqy_worker.config.fields import Setting
    from runqy_worker.config.report import Report


@dataclass(frozen=True, slots=True)
class Assignment:
    """A value that some source gives to a setting.

    Attributes:
        value: Typed as the model wants it.
        origin: Where it came from: `config.yml:12`, `RUNQY_API_KEY`, ...
        items: The origin of each item of a list, where they differ.
        unread: A secret that exists but was not read; `value` is empty.
    """

    value: Any
    origin: str
    items: tuple[str, ...] = ()
    unread: bool = False


def assign(entry: Entry, text: str, origin: str, report: Report) -> Assignment | None:
    """Convert `text` for a setting; when that fails the report gets the problem and None is returned."""
    try:
        return Assignment(convert(entry.setting, text), origin)
    except ValueError:
        report.wrong(origin, entry.key, quoted(text, secret=entry.setting.secret), expectation(entry.setting))
        return None


def convert(setting: Setting, text: str) -> Any:
    """The typed value that `text` means for a setting.

    Raises:
        ValueError: It has no meaning for this kind, or is out of bounds.
    """
    value = _PARSERS[setting.kind](text)
    if setting.choices:
        value = value.strip().lower()
        if value not in setting.choices:
            raise ValueError("not one of the choices")
    if setting.minimum is not None and value < setting.minimum:
        raise ValueError("too small")
    if setting.maximum is not None and value > setting.maximum:
        raise ValueError("too large")
    return value


def expectation(setting: Setting) -> str:
    """What a setting accepts, in words: `a whole number from 1 to 10000`."""
    if setting.choices:
        return "one of " + ", ".join(setting.choices)
    limits = bounds(setting)
    return f"{_EXPECTED[setting.kind]} {limits}" if limits else _EXPECTED[setting.kind]


def bounds(setting: Setting) -> str:
    """The limits of a number in words: `from 1 to 10000`, `of at least 1KiB`; empty when it has none."""
    if setting.minimum is None:
        return ""
    low = human(setting, int(setting.minimum) if setting.kind == "size" else setting.minimum)
    if setting.maximum is None:
        return f"of at least {low}"
    return f"from {low} to {human(setting, setting.maximum)}"


def human(setting: Setting, value: Any) -> Any:
    """The value as people write it: durations and sizes as text with units, tuples as lists."""
    if value is None:
        return None
    if setting.kind == "duration":
        return format_duration(value)
    if setting.kind == "size":
        return format_size(value)
    return list(value) if isinstance(value, tuple) else value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _path(text: str) -> str:
    return os.path.expanduser(text)  # noqa: PTH111 - a Path would drop `./` and change what is shown


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "path": _path,
    "int": int,
    "float": _number,
    "bool": parse_bool,
    "duration": parse_duration,
    "size": parse_size,
    "list": _list,
}
_EXPECTED: Mapping[str, str] = {
    "text": "a text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "duration": "a duration such as 30s, 1h30m or 500ms,",
    "size": "a size such as 64MiB or 10MB,",
    "list": "a list, or a text with commas",
}
