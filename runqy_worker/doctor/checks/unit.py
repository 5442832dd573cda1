"""The instance's unit: installed, enabled, running, and why it failed last."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.doctor.finding import Finding, note, ok, problem, warning
from runqy_worker.service.exit_codes import ExitCode
from runqy_worker.service.instances.places import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runqy_worker.doctor.subject import Subject
    from runqy_worker.service.systemctl import UnitState

EXPOSED = 2.0
"""The shipped units are at 1.5 and less: above this something was taken away."""
_ASKING = 12.0
_OVERALL = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")
_ENABLED = frozenset(("enabled", "enabled-runtime", "linked", "linked-runtime", "alias", "static", "indirect"))


async def look(subject: Subject) -> list[Finding]:
    """Nothing where the worker is no instance, or systemd does not run."""
    if subject.places is None:
        return []
    if subject.unit is None:
        return [note("systemd does not run here, so nothing starts the worker by itself")]
    name = unit_of(subject.places.name)
    unit = subject.unit
    if not unit.is_installed:
        said = unit.get("LoadError") or unit.get("LoadState")
        return [problem(f"{name} can't be loaded: {said}", "install the package's units, then systemctl daemon-reload")]
    found = [*_state(name, unit), *_boot(name, unit), *_drop_ins(unit)]
    exposure = await in_daemon_thread(lambda: _exposure(name), name="exposure")
    if exposure is not None:
        found.append(_exposed(name, exposure))
    return found


def _state(name: str, unit: UnitState) -> Iterator[Finding]:
    state, said = unit.get("ActiveState"), unit.get("StatusText")
    restarts = int(unit.get("NRestarts") or 0)
    if state == "failed":
        yield problem(f"{name} failed: {_result(unit)}", f"journalctl -u {name} -n 50; then systemctl start {name}")
    elif state == "activating":
        text = f"{name} is starting: {said or unit.get('SubState')}"
        yield warning(text, f"journalctl -u {name} -n 50 tells what it waits for")
    elif state == "inactive":
        yield note(f"{name} does not run", f"systemctl start {name}")
    else:
        yield ok(f"{name} is {state}: {said or unit.get('SubState')}")
    if restarts:
        text = f"{name} was started again {restarts} times by itself"
        yield warning(text, f"journalctl -u {name} -p warning tells why")


def _result(unit: UnitState) -> str:
    result = unit.get("Result")
    if result != "exit-code":
        return result or "for no reason that systemd knows"
    status = int(unit.get("ExecMainStatus") or 0)
    named = f" ({ExitCode(status).name})" if status in set(ExitCode) else ""
    return f"exit code {status}{named}"


def _boot(name: str, unit: UnitState) -> Iterator[Finding]:
    if unit.get("UnitFileState") not in _ENABLED:
        yield note(f"{name} is not enabled: it does not start with the host", f"systemctl enable {name}")
    if unit.get("NeedDaemonReload") == "yes":
        yield warning("unit files changed since systemd read them", "systemctl daemon-reload")


def _drop_ins(unit: UnitState) -> Iterator[Finding]:
    if unit.get("DropInPaths"):
        yield note(f"changed by {', '.join(unit.get('DropInPaths').split())}")


def _exposure(name: str) -> float | None:
    """Systemd's own figure, from 0 (good) to 10; None where it has none to give. Blocking."""
    command = ["systemd-analyze", "security", "--no-pager", name]
    environ = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ASKING, env=environ)
    except (OSError, subprocess.SubprocessError):
        return None
    found = _OVERALL.search(done.stdout)
    return float(found[1]) if found else None


def _exposed(name: str, exposure: float) -> Finding:
    text = f"its exposure is {exposure:.1f} of 10 (systemd-analyze security {name})"
    if exposure > EXPOSED:
        return warning(text, "look which drop-in takes protection away: systemctl cat shows them")
    return ok(text)
