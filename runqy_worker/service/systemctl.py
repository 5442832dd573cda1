"""Asks systemd about units, and tells it what to do with them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import RunqyError

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOTED = Path("/run/systemd/system")
RUNNING_STATES = frozenset(("active", "activating", "deactivating", "reloading", "refreshing"))
_ASKING = 20.0


class SystemctlError(RunqyError):
    """systemctl refused or failed; the text is what it said."""


def is_booted() -> bool:
    """Whether systemd runs this host."""
    return BOOTED.is_dir()


def tell(*words: str, seconds: float | None = None) -> str:
    """Run `systemctl WORDS` and return what it printed.

    Raises:
        SystemctlError: It is missing, failed, or took longer than `seconds`.
    """
    command = " ".join(("systemctl", *words))
    try:
        done = subprocess.run(
            ["systemctl", "--no-pager", *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip
    except FileNotFoundError:
        raise SystemctlError("systemctl is missing: this host has no systemd") from None
    except subprocess.TimeoutExpired:
        raise SystemctlError(f"`{command}` did not end within {seconds:g} s") from None
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}"
        raise SystemctlError(f"`{command}` failed: {said}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd knows of a unit.

    Attributes:
        properties: As `systemctl show` names them.
    """

    properties: Mapping[str, str]

    def get(self, name: str) -> str:
        """A property; empty when it is unset or not known to this systemd."""
        return self.properties.get(name, "")

    @property
    def is_installed(self) -> bool:
        """Whether there is a unit file."""
        return self.get("LoadState") == "loaded"

    @property
    def is_running(self) -> bool:
        """Whether it runs, or is on its way up or down."""
        return self.get("ActiveState") in RUNNING_STATES

    @property
    def main_pid(self) -> int:
        """The process id of its daemon; 0 while there is none."""
        return int(self.get("MainPID") or 0)


def state_of(unit: str) -> UnitState | None:
    """What systemd knows of a unit; None where systemd does not run.

    Raises:
        SystemctlError: It does not answer.
    """
    if not is_booted():
        return None
    lines = tell("show", unit, seconds=_ASKING).splitlines()
    return UnitState({name: value for name, _, value in (line.partition("=") for line in lines)})
