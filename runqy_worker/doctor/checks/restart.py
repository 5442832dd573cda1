"""Whether the running worker is older than the files that it was started from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import runqy_worker
from runqy_worker.doctor.finding import Finding, ok, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runqy_worker.doctor.subject import Subject

_SLACK = 2.0
"""Seconds that the kernel's idea of a start may be off."""


async def look(subject: Subject) -> list[Finding]:
    """Nothing while the worker does not run as a unit."""
    pid = subject.unit.main_pid if subject.unit else 0
    if not pid:
        return []
    import psutil  # noqa: PLC0415 - only here

    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return []
    found = [*_program(subject, started), *_files(subject, started)]
    return found or [ok(f"the worker, process {pid}, is newer than its files")]


def _program(subject: Subject, started: float) -> Iterator[Finding]:
    """Packages keep the modification time of what they were built from; the time of change is this disk's own."""
    changed = (Path(runqy_worker.__file__).parent / "version.py").stat().st_ctime
    if changed > started + _SLACK:
        text = f"the program was replaced {_ago(changed)} ago; the worker still is the one from before"
        yield warning(text, subject.restarting)


def _files(subject: Subject, started: float) -> Iterator[Finding]:
    places = subject.places
    if places is None:
        return
    for path in (places.host.main, *places.files()):
        try:
            changed = path.stat().st_mtime
        except OSError:
            continue
        if changed > started + _SLACK:
            yield warning(f"{path} changed {_ago(changed)} ago, after the worker had started", subject.restarting)


def _ago(moment: float) -> str:
    seconds = max(0, int(time.time() - moment))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
