"""How many files the worker may have open."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

from runqy_worker.doctor.finding import Finding, ok, problem, warning

if TYPE_CHECKING:
    from runqy_worker.doctor.subject import Subject

BASE, PER_SLOT, PER_QUEUE = 64, 8, 24
"""What a worker keeps open, generously: pipes and records per process, connections per parent queue."""
COMFORTABLE = 1024


async def look(subject: Subject) -> list[Finding]:
    """Of the unit, else of whoever runs this."""
    config = subject.config
    needed = BASE + PER_SLOT * config.worker.concurrency + PER_QUEUE * len(config.queues)
    allowed = _allowed(subject)
    advice = "LimitNOFILE=65536 in a drop-in of the unit, or `ulimit -n`"
    if allowed < needed:
        text = (
            f"it may open {allowed} files, but needs about {needed} with worker.concurrency {config.worker.concurrency}"
        )
        return [problem(text, advice)]
    if allowed < COMFORTABLE:
        return [warning(f"it may open only {allowed} files, and its task code no more", advice)]
    return [ok(f"it may open {allowed} files")]


def _allowed(subject: Subject) -> int:
    told = subject.unit.get("LimitNOFILESoft") if subject.unit else ""
    if told == "infinity":
        return resource.RLIM_INFINITY if resource.RLIM_INFINITY > 0 else 1 << 30
    if told.isdigit():
        return int(told)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30
