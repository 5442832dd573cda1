"""Writes docs/configuration.md from the model: `python -m runqy_worker.config.reference > docs/configuration.md`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.config.catalog import SECTIONS, SETTINGS
from runqy_worker.config.values import bounds, human

if TYPE_CHECKING:
    from runqy_worker.config.catalog import Entry

_TEMPLATE = Path(__file__).with_name("reference.md")


def render() -> str:
    """The whole page as Markdown."""
    page = _TEMPLATE.read_text(encoding="utf-8")
    page = page.replace("{credentials}", _credentials())
    return page.replace("{settings}", "\n\n".join(_section(section) for section in SECTIONS))


def _credentials() -> str:
    rows = ["   | Credential | Sets |", "   |---|---|"]
    for key, entry in SETTINGS.items():
        if entry.setting.credential:
            how = "" if entry.setting.secret else " (to its path)"
            rows.append(f"   | `{entry.setting.credential}` | `{key}`{how} |")
    return "\n".join(rows)


def _section(section: str) -> str:
    lines = [
        f"### {section}",
        "",
        SECTIONS[section].__doc__ or "",
        "",
        "| Key | Kind | Default | Variable | Meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(entry) for entry in SETTINGS.values() if entry.section == section]
    return "\n".join(lines)


def _row(entry: Entry) -> str:
    variables = ", ".join(f"`{name}`" for name in entry.setting.env) or "-"
    return f"| `{entry.name}` | {_kind(entry)} | {_default(entry)} | {variables} | {entry.setting.doc} |"


def _kind(entry: Entry) -> str:
    setting = entry.setting
    if setting.choices:
        return " or ".join(f"`{choice}`" for choice in setting.choices)
    limits = bounds(setting).removeprefix("of ") if setting.minimum else ""
    return ", ".join(filter(None, (setting.kind, limits, "secret" if setting.secret else "")))


def _default(entry: Entry) -> str:
    value = human(entry.setting, entry.default)
    if value is None or value in ("", []):
        return "-"
    return f"`{str(value).lower() if entry.setting.kind == 'bool' else value}`"


if __name__ == "__main__":
    sys.stdout.write(render())
