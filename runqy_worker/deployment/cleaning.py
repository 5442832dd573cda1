"""Removing what releases share once no release needs it: environments and mirrors."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from runqy_worker.deployment.locks import FileLock
from runqy_worker.deployment.release_record import read_record
from runqy_worker.deployment.remote import parse_remote

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.deployment.environment import Environments


def prune_shared(root: Path, environments: Environments) -> list[str]:
    """Remove environments and mirrors that no release of any parent queue refers to. Blocking.

    Args:
        root: The deployment directory.
        environments: The environments below it.

    Returns:
        The keys of those removed.
    """
    records = [read_record(file.parent) for file in root.glob("releases/*/*/release.json")]
    if any(record is None for record in records):
        return []  # written by another version: what it refers to is not known
    needed = {record.environment for record in records if record is not None}
    mirrors = {parse_remote(record.url).key for record in records if record is not None and record.url}
    return environments.prune(needed) + _prune_mirrors(root / "git", mirrors)


def _prune_mirrors(root: Path, needed: set[str]) -> list[str]:
    removed = []
    for path in root.glob("*.lock"):
        if path.stem in needed:
            continue
        lock = FileLock(path)
        if lock.try_take():
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.with_suffix(".gitconfig").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            removed.append(path.stem)
        lock.drop()
    return removed
