"""What a host must have to boot machines, and which layout its control groups have."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

TOOLS = {
    "systemd-nspawn": "apt-get install systemd-container",
    "mmdebstrap": "apt-get install mmdebstrap",
    "nsenter": "apt-get install util-linux",
}
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Cgroups:
    """Where a machine's control group is made.

    Attributes:
        parents: One directory in each hierarchy; empty where the host's own systemd does it.
    """

    parents: tuple[Path, ...]


def cgroups() -> Cgroups | None:
    """How this host's control groups are laid out; None where there is no place for a machine."""
    if Path("/run/systemd/system").is_dir():
        return Cgroups(())
    unified = _CGROUPS / "unified"
    if (unified / "cgroup.procs").exists():
        named = _CGROUPS / "systemd"
        return Cgroups((unified, named) if (named / "cgroup.procs").exists() else (unified,))
    if (_CGROUPS / "cgroup.controllers").exists():
        return Cgroups((_CGROUPS,))
    return None


def missing() -> list[str]:
    """What keeps this host from booting machines, one sentence each."""
    found = []
    if os.getuid() != 0:
        found.append("root is needed to boot machines: run it as root, for instance with sudo")
    found += [f"{tool} is missing: {how}" for tool, how in TOOLS.items() if _which(tool) is None]
    if cgroups() is None:
        found.append(f"no cgroup2 file system is at {_CGROUPS} or {_CGROUPS / 'unified'}, which systemd needs")
    return found


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


if __name__ == "__main__":
    raise SystemExit("\n".join(missing()) or 0)
