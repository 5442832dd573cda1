"""Values on the command line: durations, moments, headers."""

from __future__ import annotations

import argparse
from datetime import datetime

from runqy_worker.config.addresses import is_host_port, is_socket_path
from runqy_worker.config.units import parse_duration


def duration(text: str) -> float:
    """Seconds of `90`, `90s`, `5m`, `24h`, `1h30m`; not negative. Raises `ArgumentTypeError`."""
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"found {text!r}: {error}, expected one such as 90s, 5m or 1h30m") from None
    if seconds < 0:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 0 or more")
    return seconds


def moment(text: str) -> float:
    """Unix seconds, given so or as an ISO 8601 time (local unless it says otherwise). Raises `ArgumentTypeError`."""
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected Unix seconds or a time such as 2030-01-31T18:00:00Z"
        ) from None


def header(text: str) -> tuple[str, str]:
    """Key and value of `key=value`. Raises `ArgumentTypeError`."""
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected key=value")
    return key, value


def count(text: str) -> int:
    """A whole number, not negative. Raises `ArgumentTypeError`."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1. Raises `ArgumentTypeError`."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number, 1 or more")
    return int(text)


def address(text: str) -> str:
    """Where a Redis is. Raises `ArgumentTypeError`."""
    if not (is_host_port(text) or is_socket_path(text)):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected host:port or the absolute path of a unix socket")
    return text
