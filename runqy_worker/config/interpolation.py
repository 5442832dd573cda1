"""`${NAME}` and `${NAME:-default}` in texts; `$${` stands for a literal `${`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import RunqyError

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<body>[^}]*)(?P<end>\}?)")
_BODY = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-(?:(?!\$\{).)*)?\Z", re.DOTALL)


class MalformedReferenceError(RunqyError):
    """`${` begins something that is no reference. `str()` of it is that text."""


class UndefinedVariableError(RunqyError):
    """A reference without a default names a variable that is not set.

    Attributes:
        reference: As written: `${NAME}`.
        name: The variable.
    """

    def __init__(self, reference: str, name: str) -> None:
        super().__init__(f"{name} is not set")
        self.reference = reference
        self.name = name


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """The text with its references replaced. A default also stands in for a variable that is empty.

    Raises:
        MalformedReferenceError: A `${` without an end or without a proper name.
        UndefinedVariableError: A variable without a default is not set.
    """
    return _REFERENCE.sub(lambda found: _value(found, environ), text)


def escape(text: str) -> str:
    """The text such that `interpolate` gives it back."""
    return text.replace("${", "$${")


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found[0] == "$${":
        return "${"
    body = _BODY.match(found["body"])
    if body is None or not found["end"]:
        raise MalformedReferenceError(found[0])
    value = environ.get(body["name"])
    if body["default"] is not None:
        return value or body["default"].removeprefix(":-")
    if value is None:
        raise UndefinedVariableError(found[0], body["name"])
    return value
