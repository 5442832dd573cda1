"""Notices when files in a source tree change."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from runqy_worker.domain.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from runqy_worker.domain.clock import Clock

IGNORED = frozenset(
    {".git", "__pycache__", ".venv", "venv", "node_modules", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)
"""Names of directories whose content is not source."""
IGNORED_ENDINGS = (".pyc", ".swp", "~")
PATIENCE = 10
"""Intervals after which changes are told although more keep coming."""

Stamps = dict[str, tuple[int, int]]


def scan(path: Path) -> Stamps:
    """Modification time (ns) and size of each file below `path`, by its path."""
    stamps: Stamps = {}
    directories = [str(path)]
    while directories:
        for entry in _entries(directories.pop()):
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in IGNORED:
                    directories.append(entry.path)
            elif not entry.name.endswith(IGNORED_ENDINGS):
                stamps[entry.path] = _stamp(entry)
    return stamps


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:  # removed meanwhile, or not ours to read
        return []


def _stamp(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except OSError:  # removed meanwhile, or a link to nowhere
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


class Watcher:
    """Yields the set of changed paths (written, new or gone) each time the tree came to rest after a change.

    `async for changed in watcher:` looks every `interval` seconds, in a thread. A change is told once a further look
    finds nothing new, so that a checkout or a save of many files is one change; after `PATIENCE` intervals in any case.

    Args:
        path: Directory to watch, with everything below it but caches, environments and `.git`.
        interval: Seconds between two looks.
        clock: Time.
        sleep: What waits between looks.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval: float = 0.5,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = path
        self._interval = interval
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._seen = scan(path)

    async def __aiter__(self) -> AsyncIterator[set[str]]:
        while True:
            changed = await self._look()
            first = self._clock.monotonic()
            while changed and self._clock.monotonic() - first < self._interval * PATIENCE:
                more = await self._look()
                if not more:
                    break
                changed |= more
            if changed:
                yield changed

    async def _look(self) -> set[str]:
        """What changed since the last look."""
        await self._sleep(self._interval)
        now = await asyncio.to_thread(scan, self._path)
        before, self._seen = self._seen, now
        return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
