"""What of runqy-worker is installed on a host. Uses the standard library only, as it runs there."""

from __future__ import annotations

import grp
import os
import pwd
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Run = Callable[[Sequence[str]], tuple[int, str, str]]
    """Runs a command; returns exit code, stdout and stderr."""

PACKAGE = "runqy-worker"
LIBRARY = "usr/lib/runqy-worker"
UNITS = "lib/python3*/site-packages/runqy_worker/systemd"
KEPT = "var/cache/runqy-worker-packages"
APT_LISTS = "var/lib/apt/lists"
USER, ADMINS = "runqy-worker", "runqy-admin"
EXAMPLES = "usr/share/doc/runqy-worker/examples"
LOCAL = "usr/local/lib"
STORES = ("etc/credstore.encrypted", "etc/credstore")
DPKG = "var/lib/dpkg/info"
FOLDERS = ("systemd/system/runqy-worker@.service.d", "systemd/system", "systemd", "sysusers.d", "tmpfiles.d")
_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin")
_MARK = re.compile(r"-[0-9a-f]{8}$")
"""Tells builds of one version apart, in the name of an environment."""
_PRERELEASE = re.compile(r"(?<=\d)\.?(a|b|rc|dev)(?=\d)")


class Installation:
    """Looks at a host.

    Args:
        run: Runs a command on it.
        prefix: Directory of the environments that were made from wheels.
        root: Its file system; another one in tests.
    """

    def __init__(self, run: Run, prefix: str, root: Path = Path("/")) -> None:
        self._run = run
        self._root = root
        self.prefix = root / prefix.lstrip("/")

    def what(self) -> tuple[str, str]:
        """`deb` or `wheel`, and the version; two empty texts when it is not installed."""
        code, out, _ = self._run(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", PACKAGE])
        status, _, version = out.partition(" ")
        if code == 0 and status == "installed":
            return "deb", version.strip()
        current = self.prefix / "current"
        return ("wheel", current.resolve().name) if current.is_dir() and _has_its_python(current) else ("", "")

    def relation(self, wanted: str, version: str) -> str:
        """Whether a wanted version is `newer`, `older` or the `same`; empty when one of them is not known."""
        if not wanted or not version:
            return ""
        one, other = comparable(wanted), comparable(version)
        for operator, word in (("gt", "newer"), ("lt", "older")):
            if self._run(["dpkg", "--compare-versions", one, operator, other])[0] == 0:
                return word
        return "same"

    def environments(self) -> list[str]:
        """Complete environments that the host's Python can run, the oldest first."""
        found = sorted(self.prefix.glob("*/complete"), key=lambda path: path.stat().st_mtime)
        return [path.parent.name for path in found if path.parent.name != "current" and _has_its_python(path.parent)]

    def kept_packages(self) -> list[str]:
        """Files of packages that were installed, the oldest first."""
        found = sorted((self._root / KEPT).glob("*.deb"), key=lambda path: path.stat().st_mtime)
        return [str(path) for path in found]

    def knows_packages(self) -> bool:
        """Whether apt has lists of packages."""
        return any((self._root / APT_LISTS).glob("*_Packages*"))

    def files(self, method: str) -> str:
        """Directory of the unit files that came with the program; empty when there is none."""
        if not method:
            return ""
        top = self._root / LIBRARY if method == "deb" else self.prefix / "current"
        places = [*top.glob(UNITS), self._root / EXAMPLES]
        return next((str(path) for path in places if path.is_dir()), "")

    def foreign_uv(self) -> str:
        """The uv on the units' path, unless it is in one of our environments."""
        paths = [self._root / folder / "uv" for folder in _PATH]
        ours = self.prefix.resolve()
        return next((str(path) for path in paths if path.exists() and ours not in path.resolve().parents), "")

    def missing(self, packages: Sequence[str]) -> list[str]:
        """Debian packages that are not installed."""
        if not packages:
            return []
        command = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n", *packages]
        lines = self._run(command)[1].splitlines()
        present = {line.split()[0] for line in lines if line.endswith(" installed")}
        return [name for name in packages if name not in present]

    def folders(self) -> list[str]:
        """Directories that the role may have made, the innermost first."""
        places = [self._root / LOCAL / name for name in FOLDERS]
        systemd = self._root / DPKG / "systemd.list"
        theirs = systemd.read_text().splitlines() if systemd.exists() else []
        places += [self._root / name for name in STORES if f"/{name}" not in theirs]
        return [str(path) for path in places if path.is_dir()]

    def package_installed_at(self) -> float:
        """When dpkg unpacked the package that is there now, in Unix seconds; 0 when there is none."""
        listed = self._root / DPKG / f"{PACKAGE}.list"
        return listed.stat().st_mtime if listed.exists() else 0.0

    def systemd(self) -> int:
        """Its version; 0 when it does not run the host."""
        if not (self._root / "run/systemd/system").is_dir():
            return 0
        found = re.match(r"systemd (\d+)", self._run(["systemctl", "--version"])[1])
        return int(found[1]) if found else 0

    def has_accounts(self) -> bool:
        """Whether the user, the groups and the directories are there that come with the units."""
        folders = (self._root / name for name in ("etc/credstore", "etc/runqy-worker"))
        return all(path.is_dir() for path in folders) and _exists(pwd.getpwnam, USER) and _exists(grp.getgrnam, ADMINS)

    def environment_of(self, pid: str) -> str:
        """The environment that a process runs from; empty when it is none of ours."""
        try:
            argv = (self._root / "proc" / pid / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return ""
        home = Path(os.fsdecode(argv[0])).parent.parent
        return str(home) if home.parent == self.prefix else ""


def unknown_users(names: Sequence[str]) -> list[str]:
    """Those who have no account on the host, nor in a directory that it knows."""
    return [name for name in names if not _exists(pwd.getpwnam, name)]


def administrators() -> list[str]:
    """Members of the group that may command the workers."""
    return list(grp.getgrnam(ADMINS).gr_mem) if _exists(grp.getgrnam, ADMINS) else []


def _exists(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def _has_its_python(environment: Path) -> bool:
    """Whether its interpreter is of the version that its libraries were installed for: a host may get another one."""
    interpreter = (environment / "bin/python3").resolve().name
    return not interpreter.startswith("python3.") or (environment / "lib" / interpreter).is_dir()


def comparable(version: str) -> str:
    """The version in a form that dpkg orders rightly: a release candidate comes before its release."""
    return _PRERELEASE.sub(r"~\1", _MARK.sub("", version))
