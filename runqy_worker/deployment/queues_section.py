"""One mapping of a queues file, read key by key; every problem names file, line, key, value and expectation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runqy_worker.deployment.yaml_lines import Mapping, Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TRUE = {"true", "yes", "on"}
_FALSE = {"false", "no", "off"}
_NUMBER = re.compile(r"-?[0-9]+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Section:
    """A mapping and where it stands.

    Args:
        file: The file, for messages.
        path: The key that leads here; empty for the whole document.
        value: The mapping; anything else counts as empty, after a problem was noted.
        problems: Where problems are collected.
        remarks: Where unknown keys are collected.
        line: The line of the key that leads here.
    """

    def __init__(
        self, file: Path, path: str, value: object, problems: list[str], remarks: list[str], *, line: int = 0
    ) -> None:
        self.file = file
        self.path = path
        self._problems = problems
        self._remarks = remarks
        self._value = value if isinstance(value, Mapping) else Mapping()
        self._line = line or self._value.line
        if not isinstance(value, Mapping):
            self.problem("", f"is {_kind(value)}, expected a mapping")

    def problem(self, key: str, text: str) -> None:
        """Note a problem with `key`, or with the section itself."""
        self._problems.append(f"{self._at(key)}: {text}")

    def remark_unknown(self, known: set[str]) -> None:
        """Remark on keys that are not in `known`."""
        for key in self._value:
            if key not in known:
                self._remarks.append(f"{self._at(key)}: is not known here and was left out")

    def text(self, key: str, *, required: bool = False) -> str:
        """The text of a scalar; empty when absent."""
        value = self._value.get(key)
        if isinstance(value, Text) and not value.null:
            text = str(value).strip()
            if text or not required:
                return text
        if value is not None and not isinstance(value, Text):
            self.problem(key, f"is {_kind(value)}, expected text")
        elif required:
            self.problem(key, "is empty, expected text" if key in self._value else "is missing, expected text")
        return ""

    def number(self, key: str, *, required: bool = False, minimum: int = 0) -> int:
        """A whole number; 0 when absent."""
        value = self._value.get(key)
        if value is None or (isinstance(value, Text) and value.null):
            if required:
                self.problem(key, f"is missing, expected a whole number from {minimum}")
            return 0
        if not isinstance(value, Text) or not _NUMBER.match(value) or int(value) < minimum:
            shown = repr(str(value)) if isinstance(value, Text) else _kind(value)
            self.problem(key, f"is {shown}, expected a whole number from {minimum}")
            return 0
        return int(value)

    def flag(self, key: str) -> bool:
        """A truth value; False when absent."""
        value = self._value.get(key)
        if value is None or (isinstance(value, Text) and value.null):
            return False
        if not isinstance(value, Text) or value.lower() not in _TRUE | _FALSE:
            shown = repr(str(value)) if isinstance(value, Text) else _kind(value)
            self.problem(key, f"is {shown}, expected true or false")
            return False
        return value.lower() in _TRUE

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._value.get(key)
        if value is None or (isinstance(value, Text) and value.null):
            return ()
        if not isinstance(value, list) or not all(isinstance(item, Text) for item in value):
            self.problem(key, "expected a list of names")
            return ()
        return tuple(str(item) for item in value)

    def variables(self, key: str) -> dict[str, str]:
        """A mapping of variable names to texts."""
        if key not in self._value or getattr(self._value[key], "null", False):
            return {}
        inner = self.section(key)
        for name in inner.names():
            if not _VARIABLE.match(name):
                inner.problem(name, "is no name for a variable, expected letters, digits and '_'")
        return {name: inner.text(name) for name in inner.names()}

    def names(self) -> tuple[str, ...]:
        """The keys as written."""
        return tuple(self._value)

    def section(self, key: str, *, required: bool = False) -> Section:
        """The mapping under `key`."""
        if key not in self._value and required:
            self.problem(key, "is missing, expected a mapping")
        value = self._value.get(key, Mapping())
        return Section(self.file, self._join(key), value, self._problems, self._remarks, line=self._line_of(key))

    def sections(self, key: str) -> Iterator[tuple[str, Section]]:
        """The mappings under the mapping `key`, by name."""
        inner = self.section(key)
        for name in inner.names():
            yield name, inner.section(name)

    def items(self, key: str) -> list[Section]:
        """The mappings in the list `key`."""
        value = self._value.get(key)
        if value is None or (isinstance(value, Text) and value.null):
            return []
        if not isinstance(value, list):
            self.problem(key, f"is {_kind(value)}, expected a list")
            return []
        return [
            Section(self.file, f"{self._join(key)}[{position}]", item, self._problems, self._remarks)
            for position, item in enumerate(value)
        ]

    def _join(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def _line_of(self, key: str) -> int:
        lines: dict[str, int] = getattr(self._value, "lines", {})
        return lines.get(key, self._line)

    def _at(self, key: str) -> str:
        line = self._line_of(key)
        where = f"{self.file}:{line}" if line else f"{self.file}"
        name = self._join(key)
        return f"{where}: {name}" if name else where


def _kind(value: Any) -> str:
    if value is None or getattr(value, "null", False):
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return repr(str(value))
