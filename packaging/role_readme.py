"""The tables of the roles' READMEs, made from their argument specs: `python packaging/role_readme.py` writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
ROLES = ROOT / "ansible" / "roles"
BEGIN, END = "<!-- begin: made from meta/argument_specs.yml -->", "<!-- end -->"
_MARKUP = re.compile(r"\b[VOCMP]\(((?:[^()]|\([^()]*\))*)\)")
"""Ansible's markup for values, options and code, all of which are shown alike."""


def tables(role: str) -> str:
    """A table of the role's variables, and one for each that is a mapping or a list of mappings."""
    spec = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    return "\n".join(_tables("Variables", spec["argument_specs"]["main"]["options"]))


def _tables(title: str, options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from (f"### {title}", "", "| Name | Kind | Default | Meaning |", "|---|---|---|---|")
    yield from (_row(name, option) for name, option in options.items())
    yield ""
    for name, option in options.items():
        if "options" in option:
            yield from _tables(f"Keys of `{name}`", option["options"])


def _row(name: str, option: Mapping[str, Any]) -> str:
    kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
    if "choices" in option:
        kind = ", ".join(f"`{choice}`" for choice in option["choices"])
    default = f"`{json.dumps(option['default'])}`" if "default" in option else "-"
    if option.get("required"):
        default = "required"
    told = option["description"]
    meaning = _MARKUP.sub(r"`\1`", " ".join([told] if isinstance(told, str) else told))
    return f"| `{name}` | {kind} | {default} | {meaning} |".replace("\n", " ")


def rendered(role: str) -> str:
    """The README of a role, with its tables as they are to be."""
    text = (ROLES / role / "README.md").read_text()
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{tables(role)}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write them all."""
    for path in ROLES.glob("*/README.md"):
        path.write_text(rendered(path.parent.name))


if __name__ == "__main__":
    main()
