"""Whether the host's clock is kept right."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.doctor.finding import Finding, note, ok, warning
from runqy_worker.service.systemctl import is_booted

if TYPE_CHECKING:
    from runqy_worker.doctor.subject import Subject

_ASKING = 10.0


async def look(_subject: Subject) -> list[Finding]:
    """Ask timedated. How far the clock is from Redis' is told by the check of Redis."""
    if not is_booted():
        return [note("whether the clock is synchronised is not known: systemd does not run here")]
    said = await in_daemon_thread(_ask, name="timedatectl")
    if said is None:
        return [note("whether the clock is synchronised is not known: timedatectl does not answer")]
    if said.get("NTPSynchronized") == "yes":
        return [ok("the clock is synchronised")]
    advice = "timedatectl set-ntp true, or install chrony; in a container the host's clock counts"
    return [warning("the clock is not synchronised", advice)]


def _ask() -> dict[str, str] | None:
    """The properties of the clock. Blocking."""
    try:
        done = subprocess.run(["timedatectl", "show"], capture_output=True, text=True, check=True, timeout=_ASKING)
    except (OSError, subprocess.SubprocessError):
        return None
    return {name: value for name, _, value in (line.partition("=") for line in done.stdout.splitlines())}
