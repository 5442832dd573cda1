"""The collection's files, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

COLLECTION = Path(__file__).resolve().parents[2] / "ansible"
ROLE = COLLECTION / "roles" / "worker"
DEFAULTS: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
OPTIONS: dict[str, Any] = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]["main"][
    "options"
]


def sources() -> dict[Path, str]:
    """The roles' tasks, templates and variables, and the playbooks."""
    folders = [*(COLLECTION / "roles").glob("*/*"), COLLECTION / "playbooks"]
    named = {"tasks", "templates", "vars", "handlers", "playbooks"}
    return {
        path: path.read_text()
        for folder in folders
        if folder.name in named
        for path in folder.rglob("*")
        if path.is_file()
    }
