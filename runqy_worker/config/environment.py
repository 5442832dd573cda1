"""Settings from RUNQY_* variables and from command line flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.config.catalog import SETTINGS, VARIABLES
from runqy_worker.config.suggestions import PREFIX, nearest_variable
from runqy_worker.config.values import assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.report import Report
    from runqy_worker.config.values import Assignment


def read_environment(environ: Mapping[str, str], report: Report) -> dict[str, Assignment]:
    """The settings that variables give. A variable set to nothing counts as unset."""
    layer: dict[str, Assignment] = {}
    for entry in SETTINGS.values():
        given = [name for name in entry.setting.env if environ.get(name)]
        if not given:
            continue
        for other in given[1:]:
            if environ[other] != environ[given[0]]:
                report.warn(other, f"is not used, since {given[0]} sets {entry.key} too, to another value")
        found = assign(entry, environ[given[0]], given[0], report)
        if found is not None:
            layer[entry.key] = found
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in VARIABLES and (meant := nearest_variable(name)):
            report.unknown(name, "the variable", f"did you mean {meant}?", VARIABLES[meant].key)
    return layer


def read_flags(flags: Mapping[str, str], report: Report) -> dict[str, Assignment]:
    """The settings that flags give.

    Args:
        flags: Dotted key -> text. The flag is named after the key's last part: `--shutdown-timeout`.
        report: Gets what is wrong.
    """
    layer: dict[str, Assignment] = {}
    for key, text in flags.items():
        entry = SETTINGS[key]
        found = assign(entry, text, f"--{entry.name.replace('_', '-')}", report)
        if found is not None:
            layer[key] = found
    return layer
