"""What can be guessed about task code from how it looks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

PROGRAMS = ("main.py", "app.py", "worker.py")
"""Files that are taken for the program, the best guess first."""

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")
_REMOTE = re.compile(r"[a-z+]+://|[^/\s]+@[^/\s]+:")
_LONGEST_NAME = 64


def is_remote(text: str) -> bool:
    """Whether it is the address of a repository rather than a directory."""
    return _REMOTE.match(text) is not None


def guess_queue(text: str) -> str:
    """A parent queue's name from the last part of a path or an address."""
    last = text.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return _NOT_IN_NAMES.sub("-", last).strip("-_")[:_LONGEST_NAME] or "dev"


def guess_startup_cmd(directory: Path) -> str:
    """The command that starts the task code.

    Raises:
        DeploymentError: Nothing, or more than one thing, looks like it; says what was looked for.
    """
    for name in PROGRAMS:
        if (directory / name).is_file():
            return f"python {name}"
    packages = sorted(main.parent.name for main in directory.glob("*/__main__.py"))
    if len(packages) == 1:
        return f"python -m {packages[0]}"
    found = f"found {', '.join(packages)}" if packages else "found none"
    message = (
        f"{directory}: can't tell how the task code is started. Looked for {', '.join(PROGRAMS)}, "
        f"and for one package with a __main__.py ({found}). Say it with --cmd, such as --cmd 'python serve.py'."
    )
    raise DeploymentError(message, step="startup", retryable=False)
