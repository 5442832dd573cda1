"""Compares variables with the argument spec of a role, and says what was meant. Pure: it looks at its arguments only.

Ansible does so, too, but names no likely right name, and prints the whole spec.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Spec = Mapping[str, Any]

_EXPECTED = {"list": "a list", "dict": "a mapping", "int": "a whole number", "bool": "true or false"}
_SHOWN = {"list": "a list", "dict": "a mapping", "str": "a text"}
_TRUTH = frozenset(("yes", "no", "on", "off", "true", "false", "1", "0", "y", "n", "t", "f"))
_ALIKE = 0.6
"""How alike two names are that may be mistaken for each other, from 0 to 1."""


def problems(given: Mapping[str, Any], options: Mapping[str, Spec]) -> list[str]:
    """What is wrong with the variables, one sentence each.

    Args:
        given: Name -> value of every variable that begins as the role's do.
        options: The options of the role's argument spec.
    """
    found: list[str] = []
    for name in sorted(given):
        if name in options and given[name] is None:
            found.append(f"{name}: is empty, expected {_expected(options[name])}; leave it out for the default")
        elif name in options:
            found += _of_value(given[name], options[name], name)
        else:
            found.append(f"{name}: there is no such variable{_meant(name, options)}")
    missing = (name for name, spec in options.items() if spec.get("required") and name not in given)
    return found + [f"{name}: is missing, expected {_expected(options[name])}" for name in missing]


def _of_value(value: Any, spec: Spec, where: str) -> Iterator[str]:
    """What is wrong with one value. Secrets have no choices and are no numbers, so none is ever shown."""
    kind = spec.get("type", "str")
    if value is None:
        return
    if not _fits(value, kind):
        yield f"{where}: found {_shown(value, kind)}, expected {_expected(spec)}"
    elif "choices" in spec and value not in spec["choices"]:
        meant = _meant(str(value), spec["choices"])
        yield f"{where}: found {value!r}, expected one of {', '.join(map(str, spec['choices']))}{meant}"
    elif kind == "dict" and "options" in spec:
        yield from _of_keys(value, spec["options"], where)
    elif kind == "list":
        yield from _of_elements(value, spec, where)


def _of_keys(value: Mapping[str, Any], options: Mapping[str, Spec], where: str) -> Iterator[str]:
    for key in value:
        if key in options:
            yield from _of_value(value[key], options[key], f"{where}.{key}")
        else:
            yield f"{where}: there is no key {key!r}{_meant(str(key), options)}"
    for key, spec in options.items():
        if spec.get("required") and value.get(key) is None:
            yield f"{where}: {key!r} is missing, expected {_expected(spec)}"


def _of_elements(value: Sequence[Any], spec: Spec, where: str) -> Iterator[str]:
    element = {"type": spec.get("elements", "raw"), **{key: spec[key] for key in ("options",) if key in spec}}
    for number, each in enumerate(value):
        name = each.get("name", number) if isinstance(each, dict) else number
        yield from _of_value(each, element, f"{where}[{name}]")


def _fits(value: Any, kind: str) -> bool:
    if kind == "int":
        return not isinstance(value, bool) and str(value).removeprefix("-").isdigit()
    if kind == "bool":
        return isinstance(value, bool) or str(value).lower() in _TRUTH
    if kind == "list":
        return isinstance(value, list)
    if kind == "dict":
        return isinstance(value, dict)
    return kind == "raw" or not isinstance(value, (list, dict))


def _shown(value: Any, kind: str) -> str:
    if kind in ("int", "bool") and not isinstance(value, (list, dict)):
        return repr(value)
    for name, kept in (("list", list), ("dict", dict), ("str", str)):
        if isinstance(value, kept):
            return str(_SHOWN[name])
    return f"a {type(value).__name__}"


def _expected(spec: Spec) -> str:
    return _EXPECTED.get(spec.get("type", "str"), "a text")


def _meant(name: str, known: Iterable[Any]) -> str:
    near = difflib.get_close_matches(name, [str(each) for each in known], n=1, cutoff=_ALIKE)
    return f"; did you mean {near[0]}?" if near else ""


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name -> filter."""
        return {"problems": problems}
