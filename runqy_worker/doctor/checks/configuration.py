"""Whether the configuration can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.doctor.finding import Finding, note, ok, problem, warning

if TYPE_CHECKING:
    from runqy_worker.doctor.subject import Subject


async def look(subject: Subject) -> list[Finding]:
    """Every problem and every warning."""
    unread = [
        note(f"the credential {name} was not read: {why}", "run this as root, which alone may read it")
        for name, why in subject.unread.items()
    ]
    if subject.loaded is None:
        advice = f"mend it; {subject.validating} checks it again"
        return [*unread, *(problem(each, advice) for each in subject.problems)]
    loaded = subject.loaded
    files = " + ".join(map(str, loaded.files)) or "variables alone"
    doubts = [warning(each, f"mend it; {subject.validating} checks it again") for each in loaded.warnings]
    return [*unread, *doubts, ok(f"{files}: queues {', '.join(loaded.config.queues)}")]
