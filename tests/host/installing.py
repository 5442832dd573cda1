"""Puts the worker into a machine: environment, program, units, directories. A package may do it in its stead."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from host.rootfs import ROOT, SYSTEMD

if TYPE_CHECKING:
    from host.machine import Machine

UNITS = ROOT / "systemd"
LIBRARY = "/usr/lib/runqy-worker"
SYSTEM = "/usr/lib/systemd/system"
DROP_INS = {"restart-steps.conf": 254, "import-credentials.conf": 257}
"""For all instances, from that release of systemd on."""
_TEMPLATE = f"{SYSTEM}/runqy-worker@.service.d"


def install_from_wheels(machine: Machine, suite: str, own: Path, others: Path) -> None:
    """An environment made of wheels, and the files of systemd/ as they are."""
    machine.copy_in(others, "/tmp/wheels")
    machine.copy_in(own, "/tmp/wheels")
    machine.sh(
        f"python3 -m venv {LIBRARY}\n"
        f"{LIBRARY}/bin/pip install --quiet --disable-pip-version-check --no-index --no-deps /tmp/wheels/*.whl\n"
        f"ln -s {LIBRARY}/bin/runqy-worker /usr/bin/runqy-worker\n"
        "rm -r /tmp/wheels",
        timeout=300,
    )
    install_units(machine, suite)
    machine.write("/etc/runqy-worker/config.yml", "# Nothing: each instance has it all.\n")


def install_units(machine: Machine, suite: str) -> None:
    """Where each file of systemd/ goes."""
    for pattern in ("*.service", "*.target", "*.slice"):
        for unit in UNITS.glob(pattern):
            machine.write(f"{SYSTEM}/{unit.name}", unit.read_text())
    machine.write("/usr/lib/sysusers.d/runqy-worker.conf", (UNITS / "runqy-worker.sysusers").read_text())
    machine.write("/usr/lib/tmpfiles.d/runqy-worker.conf", (UNITS / "runqy-worker.tmpfiles").read_text())
    for name, since in DROP_INS.items():
        if SYSTEMD[suite] >= since:
            machine.write(f"{_TEMPLATE}/{name}", (UNITS / "drop-ins" / name).read_text())
    machine.sh(
        "systemd-sysusers /usr/lib/sysusers.d/runqy-worker.conf\n"
        "systemd-tmpfiles --create /usr/lib/tmpfiles.d/runqy-worker.conf\n"
        "systemctl daemon-reload"
    )


def install_uv(machine: Machine) -> None:
    """The uv of the tests' environment."""
    machine.copy_in(Path(sys.executable).with_name("uv"), "/usr/local/bin")
