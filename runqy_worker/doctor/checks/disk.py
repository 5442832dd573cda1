"""Room, inodes, and what may be done on the file system of the deployments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.doctor.finding import Finding, ok, problem, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runqy_worker.doctor.subject import Subject

GIB = 1024**3
LITTLE, NONE = 2 * GIB, 200 * 1024**2
FEW_INODES = 20_000
"""An environment with a few large packages has about as many files."""


async def look(subject: Subject) -> list[Finding]:
    """`deployment.dir`, or where it will be made."""
    path = _existing(subject.path(subject.config.deployment.dir))
    status = os.statvfs(path)
    found = [*_room(path, status), *_mount(path, status, subject)]
    if found:
        return found
    return [ok(f"{path} has {status.f_bavail * status.f_frsize / GIB:.1f} GiB free")]


def _existing(wanted: Path) -> Path:
    return next(each for each in (wanted, *wanted.parents) if each.exists())


def _room(path: Path, status: os.statvfs_result) -> Iterator[Finding]:
    free = status.f_bavail * status.f_frsize
    advice = "remove what is not needed, lower deployment.keep_releases, or give it a larger disk"
    if free < NONE:
        yield problem(f"{path} has only {free >> 20} MiB free: deploys fail", advice)
    elif free < LITTLE:
        yield warning(f"{path} has only {free / GIB:.1f} GiB free", advice)
    if status.f_files and status.f_favail < FEW_INODES:
        yield warning(f"{path} has only {status.f_favail} inodes left: large environments don't fit", advice)


def _mount(path: Path, status: os.statvfs_result, subject: Subject) -> Iterator[Finding]:
    if status.f_flag & os.ST_NOEXEC:
        yield problem(f"{path} is mounted noexec: nothing in an environment can run", "mount it with exec")
    if status.f_flag & os.ST_RDONLY:
        yield problem(f"{path} is mounted read-only", "mount it read-write, or set deployment.dir")
    caches = [subject.environ[name] for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR") if subject.environ.get(name)]
    for each in map(Path, caches):
        if each.exists() and each.stat().st_dev != path.stat().st_dev:
            text = f"the cache {each} is on another file system than {path}: packages are copied, not linked"
            yield warning(text, "put both on one file system")
