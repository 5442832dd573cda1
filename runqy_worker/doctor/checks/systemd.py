"""Which systemd runs the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.doctor.finding import Finding, note, ok, problem, warning
from runqy_worker.service import systemctl

if TYPE_CHECKING:
    from runqy_worker.doctor.subject import Subject

OLDEST = 252


async def look(_subject: Subject) -> list[Finding]:
    """Its version, and whether it is well."""
    if not systemctl.is_booted():
        return [note("systemd does not run here", "`runqy-worker run --daemon` works without it")]
    try:
        said = await in_daemon_thread(lambda: systemctl.tell("--version", seconds=10), name="systemctl")
    except systemctl.SystemctlError as error:
        return [problem(str(error), "journalctl -b tells more")]
    words = said.split()
    version = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if version < OLDEST:
        text = f"systemd is version {version or 'unknown'}, expected {OLDEST} or newer"
        return [warning(text, "the units are tested from there on: upgrade the host")]
    return [ok(f"systemd {version}")]
