"""Makes text safe to print: nobody's output can forge a line, move the cursor or turn the reading direction."""

from __future__ import annotations

import json
import math
import re

CONTINUATION = "    | "
"""Begins every line but the first of a record; no record's own first line begins with a space."""

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NOT_FOR_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_PLAIN_VALUE = re.compile(r"[^\s\"'=\\]+\Z")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "\\r" if match[0] == "\r" else f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"  # noqa: PLR2004


def printable(text: str) -> str:
    """The text with control characters shown as escapes; tabs and line breaks stay."""
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def one_line(text: str) -> str:
    r"""The text on one line: as `printable`, with line breaks shown as `\n`."""
    return printable(text).replace("\n", "\\n")


def folded(text: str) -> str:
    """The text on as many lines as it has, each further one marked as a continuation."""
    safe = printable(text)
    return safe.replace("\n", "\n" + CONTINUATION) if "\n" in safe else safe


def field_text(value: object) -> str:
    """A value for `key=value`: bare when that is unambiguous, else quoted."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, set, frozenset)):
        value = ",".join(str(item) for item in value)
    text = one_line(str(value))
    return text if _PLAIN_VALUE.match(text) else json.dumps(text, ensure_ascii=False)


def _plain(value: object) -> object:
    """The value as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


def json_line(document: dict[str, object]) -> str:
    """One JSON object on one line, whatever is inside."""
    text = json.dumps(_plain(document), ensure_ascii=False, separators=(",", ":"))
    return text if text.isprintable() else _NOT_FOR_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
