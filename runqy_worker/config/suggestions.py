"""Which known name was probably meant by an unknown one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.config.catalog import SECTIONS, SETTINGS, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "RUNQY_"
_VARIABLE_CUTOFF = 0.8
"""Other programs have RUNQY_ variables too, the runqy server for one: only what is very near is taken for a slip."""


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most like `name`; None when none is near."""
    import difflib  # noqa: PLC0415 - costs milliseconds that a correct configuration need not pay

    found = difflib.get_close_matches(name.lower().replace("-", "_"), list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def nearest_key(section: str, name: str) -> str | None:
    """The dotted key that was meant by an unknown `name` in `section`."""
    elsewhere = _named(name)
    if len(elsewhere) == 1:
        return elsewhere[0]
    if found := nearest(name, [entry.name for entry in SETTINGS.values() if entry.section == section]):
        return f"{section}.{found}"
    return elsewhere[0] if elsewhere else None


def nearest_top(name: str) -> str | None:
    """The section, or the dotted key, that was meant by an unknown name at the top of the file."""
    elsewhere = _named(name)
    return elsewhere[0] if elsewhere else nearest(name, SECTIONS)


def nearest_variable(name: str) -> str | None:
    """The variable that was meant by an unknown `RUNQY_` one; None when it is probably somebody else's."""
    short = {known.removeprefix(PREFIX).lower(): known for known in VARIABLES}
    wanted = name.removeprefix(PREFIX).lower()
    for entry in SETTINGS.values():
        if wanted == f"{entry.section}_{entry.name}" and entry.setting.env:
            return entry.setting.env[0]
    found = nearest(wanted, short, _VARIABLE_CUTOFF)
    return short[found] if found else None


def _named(name: str) -> list[str]:
    return [entry.key for entry in SETTINGS.values() if entry.name == name]
