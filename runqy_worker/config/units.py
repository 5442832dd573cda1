"""Durations, sizes and truth values as people write them. Durations follow Go's rules, to the nanosecond."""

from __future__ import annotations

import re

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
    "d": 24 * 3600 * 1_000_000_000,
}
_SECOND = _NANOSECONDS["s"]
_LARGEST = 2**63 - 1
_NUMBER = r"(\d*)(?:\.(\d*))?"
_PART = re.compile(_NUMBER + r"(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_BARE = re.compile(_NUMBER, re.ASCII)

_BYTES = {
    **{letter + end: 1024**power for power, letter in enumerate("kmgtp", 1) for end in ("", "i", "ib")},
    **{letter + "b": 1000**power for power, letter in enumerate("kmgtp", 1)},
    "": 1,
    "b": 1,
}
_SIZE = re.compile(_NUMBER + r"\s*([a-z]*)", re.ASCII)
_SIZE_NAMES = sorted(
    ((_BYTES[unit.lower()], unit) for prefix in "KMGTP" for unit in (f"{prefix}iB", f"{prefix}B")),
    reverse=True,
)

_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


def parse_duration(text: str) -> float:
    """Seconds in `30s`, `1h30m`, `500ms`, `1.5h`, `7d`, or a bare number of seconds.

    Raises:
        ValueError: It is no duration, or longer than Go can hold (about 292 years).
    """
    rest = text.strip()
    negative = rest.startswith("-")
    rest = rest[1:] if rest[:1] in {"-", "+"} else rest
    total = _bare_seconds(rest)
    if total is None:
        total = 0
        while rest:
            part = _PART.match(rest)
            if part is None:
                raise ValueError("not a duration")
            total += _scaled(part[1], part[2], _NANOSECONDS[part[3]])
            rest = rest[part.end() :]
    if total > _LARGEST:
        raise ValueError("too long a duration")
    return (-total if negative else total) / _SECOND


def format_duration(seconds: float) -> str:
    """The shortest usual text of a duration: `1h30m`, `10m`, `500ms`. `parse_duration` reads it back."""
    top, bottom = abs(seconds).as_integer_ratio()
    total = (top * _SECOND * 2 + bottom) // (bottom * 2)
    if total == 0:
        return "0s"
    sign = "-" if seconds < 0 else ""
    if total < _SECOND:
        unit = next(name for name in ("ms", "us", "ns") if total % _NANOSECONDS[name] == 0)
        return f"{sign}{total // _NANOSECONDS[unit]}{unit}"
    whole, fraction = divmod(total, _SECOND)
    minutes, left = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h"] if hours else []
    parts += [f"{minutes}m"] if minutes else []
    if fraction:
        parts.append(f"{left}.{fraction:09d}".rstrip("0") + "s")
    elif left:
        parts.append(f"{left}s")
    return sign + "".join(parts)


def parse_size(text: str) -> int:
    """Bytes in `64MiB`, `10MB`, `1G` or a bare number.

    `KiB` and the single letters are powers of 1024 (as systemd reads them), `KB` and its like powers of 1000.

    Raises:
        ValueError: It is no size.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or found[3] not in _BYTES:
        raise ValueError("not a size")
    size = _scaled(found[1], found[2], _BYTES[found[3]])
    if size > _LARGEST:
        raise ValueError("too large a size")
    return size


def format_size(size: int) -> str:
    """The text of a size in the largest unit that needs no fraction: `64MiB`, `10MB`, `1500`."""
    if size:
        for unit, name in _SIZE_NAMES:
            if size % unit == 0:
                return f"{size // unit}{name}"
    return str(size)


def parse_bool(text: str) -> bool:
    """True or false in any spelling that Go or YAML knows.

    Raises:
        ValueError: It is none of them.
    """
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("not a truth value")


def _bare_seconds(text: str) -> int | None:
    found = _BARE.fullmatch(text)
    return _scaled(found[1], found[2], _SECOND) if found else None


def _scaled(whole: str, fraction: str | None, unit: int) -> int:
    digits = whole + (fraction or "")
    if not digits:
        raise ValueError("a number is missing")
    places: int = 10 ** len(fraction or "")
    return int(digits) * unit // places
