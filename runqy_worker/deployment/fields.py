"""Reading an untrusted JSON document, field by field, keeping every problem instead of stopping at the first."""

from __future__ import annotations

from typing import Any

_MISSING = object()
_NAMES = {str: "text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


class Fields:
    """One object of the document, and where it stands.

    Args:
        value: The object; anything else counts as empty, after a problem was noted.
        path: How to name it in problems; empty for the whole document.
        problems: Where problems are collected, one line each.
    """

    def __init__(self, value: object, path: str, problems: list[str]) -> None:
        self.path = path
        self.problems = problems
        self._value: dict[str, Any] = value if isinstance(value, dict) else {}

    def inner(self, key: str) -> Fields:
        """The object under `key`. Where it is missing, its required fields are."""
        return Fields(self._get(key, dict, {}), self._at(key), self.problems)

    def text(self, key: str, *, required: bool = False) -> str:
        """The text under `key`; empty when it is absent. A required one must not be empty."""
        value: str = self._get(key, str, "", required=required)
        if required and value == "" and key in self._value and isinstance(self._value[key], str):
            self.problems.append(f"{self._at(key)} is empty")
        return value

    def number(self, key: str, default: int = 0) -> int:
        """The whole number under `key`."""
        value: int = self._get(key, int, default)
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """The truth value under `key`."""
        value: bool = self._get(key, bool, default)
        return value

    def texts(self, key: str) -> dict[str, str]:
        """The name -> text object under `key`."""
        found: dict[str, str] = {}
        for name, value in self._get(key, dict, {}).items():
            if isinstance(value, str):
                found[name] = value
            else:  # the value may be a secret, so only its type is told
                self.problems.append(f"{self._at(key)}.{name} is {_kind(value)}, expected text")
        return found

    def items(self, key: str) -> list[Any]:
        """The list under `key`."""
        value: list[Any] = self._get(key, list, [])
        return value

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _get(self, key: str, kind: type, default: Any, *, required: bool = False) -> Any:
        value = self._value.get(key, _MISSING)
        if value is _MISSING or value is None:
            if required:
                self.problems.append(f"{self._at(key)} is missing")
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.problems.append(f"{self._at(key)} is {_kind(value)}, expected {_NAMES[kind]}")
            return default
        return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "a fraction"
    return _NAMES.get(type(value), type(value).__name__)
