"""The Debian package on a machine: built once for all tests, installed as an operator does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deb import build

if TYPE_CHECKING:
    from pathlib import Path

    from host.machine import Machine

NAME = "runqy-worker"
_WHERE = "/root/packages"
_LONG = 300.0
_ALONE = "DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes --no-install-recommends"


class PackageHost:
    """Installs and removes the package in a machine.

    Args:
        machine: Where.
        suite: Its suite.
    """

    def __init__(self, machine: Machine, suite: str) -> None:
        self.machine = machine
        self._suite = suite

    def install(self, revision: str = "") -> str:
        """Install the package, or upgrade to a later build of the same version; returns what apt said."""
        package: Path = build(self._suite, revision, check=not revision)
        self.machine.copy_in(package, _WHERE)
        return self.machine.sh(f"{_ALONE} install {_WHERE}/{package.name} 2>&1", timeout=_LONG)

    def remove(self) -> str:
        """Remove it; its configuration stays."""
        return self.machine.sh(f"{_ALONE} remove {NAME} 2>&1", timeout=_LONG)

    def purge(self) -> str:
        """Remove it with all that belongs to it."""
        return self.machine.sh(f"{_ALONE} purge {NAME} 2>&1", timeout=_LONG)

    def field(self, name: str) -> str:
        """One field of the installed package, as dpkg-query knows it."""
        return self.machine.run("dpkg-query", "--show", f"--showformat=${{{name}}}", NAME).stdout

    def files(self) -> set[str]:
        """All that is in the file system, but for what apt, the journal and running programs keep for themselves."""
        others = " ".join(f"-path {path} -o" for path in _OTHERS)
        found = self.machine.sh(f"find / -xdev \\( {others} -path {_WHERE} \\) -prune -o -print", timeout=_LONG)
        volatile = self.machine.sh("find /run/runqy-worker* /run/credentials -maxdepth 1 2>/dev/null || true")
        return {*found.splitlines(), *volatile.splitlines()}


_OTHERS = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",
    "/var/tmp",
    "/var/log/journal",
    "/var/log/apt",
    "/var/cache/apt",
    "/var/cache/debconf",
)
