"""The `vaults:` part of a queues file: named sets of secrets, which may point to variables of the worker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.deployment.queues_section import Section

_REFERENCE = re.compile(r"\$(\$|\{([A-Za-z_][A-Za-z0-9_]*)\})")


def read_vaults(top: Section, environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Vault name -> entry name -> value. `${VAR}` stands for a variable of `environ`, `$$` for a dollar sign."""
    return {
        name: {key: _expand(vault, key, value, environ) for key, value in _entries(vault).items()}
        for name, vault in top.sections("vaults")
    }


def _entries(vault: Section) -> dict[str, str]:
    return {key: vault.text(key) for key in vault.names()}


def _expand(vault: Section, key: str, value: str, environ: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = match[2]
        if name is None:
            return "$"
        if name not in environ:
            vault.problem(key, f"the variable {name} is not set, expected it in the worker's environment")
        return environ.get(name, "")

    return _REFERENCE.sub(replace, value)
