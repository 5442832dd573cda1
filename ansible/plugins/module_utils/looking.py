"""One look at all instances of a host. Uses the standard library only, as it runs there."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.runqy.worker.plugins.module_utils.installation import (
    Installation,
    administrators,
    unknown_users,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.runqy.worker.plugins.module_utils.installation import Run

UNIT = "runqy-worker@{}.service"
PROPERTIES = (
    *("Id", "ActiveState", "UnitFileState", "NeedDaemonReload", "MainPID"),
    *("ExecMainStartTimestamp", "StatusText"),
)
DATA = ("var/lib", "var/cache", "var/log")
STORES = ("etc/credstore", "etc/credstore.encrypted")
SETTINGS = "etc/runqy-worker/instances"
UNITS = "etc/systemd/system"
SLICE = "etc/systemd/system/runqy.slice.d/ansible.conf"
PROGRAM = "usr/bin/runqy-worker"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
_OTHER_PROGRAM = ("version ", "the program's files")
_OTHER_SETTINGS = "changed settings"
_TIME_WORDS = 4


def look(
    run: Run,
    *,
    instances: Sequence[str],
    packages: Sequence[str],
    users: Sequence[str],
    wanted_version: str,
    prefix: str,
) -> dict[str, Any]:
    """All that the module returns."""
    installation = Installation(run, prefix)
    method, version = installation.what()
    systemd = installation.systemd()
    found = Instances(run, installation).all(instances) if systemd else {}
    return {
        "method": method,
        "version": version,
        "relation": installation.relation(wanted_version, version),
        "root": os.geteuid() == 0,
        "environments": installation.environments(),
        "kept_packages": installation.kept_packages(),
        "foreign_uv": installation.foreign_uv(),
        "files": installation.files(method),
        "slice_drop_in": Path("/", SLICE).exists(),
        "empty_after_removal": installation.folders(),
        "missing_packages": installation.missing(packages),
        "python_apt": importlib.util.find_spec("apt") is not None and installation.knows_packages(),
        "accounts": installation.has_accounts(),
        "unknown_users": unknown_users(users),
        "admins": administrators(),
        "systemd": systemd,
        "daemon_reload": any(each["daemon_reload"] for each in found.values()),
        "instances": found,
    }


class Instances:
    """Looks at the instances of a host.

    Args:
        run: Runs a command on it.
        installation: What is installed there.
        root: Its file system; another one in tests.
    """

    def __init__(self, run: Run, installation: Installation, root: Path = Path("/")) -> None:
        self._run = run
        self._installation = installation
        self._root = root

    def all(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """All that is known of the instances named, and of those that left traces."""
        configured = {path.name.removesuffix(".yml") for path in (self._root / SETTINGS).glob("*.yml")}
        every = sorted({name for name in configured | self._traces() if _NAME.match(name)} | set(names))
        if not every:
            return {}
        units, workers = self._units(every), self._workers()
        return {
            name: self._one(name, units.get(UNIT.format(name), {}), workers.get(name, {}), name in configured)
            for name in every
        }

    def _one(self, name: str, unit: Mapping[str, str], worker: Mapping[str, Any], configured: bool) -> dict[str, Any]:
        state = unit.get("ActiveState", "inactive")
        running = state in ("active", "reloading")
        started = started_at(unit.get("ExecMainStartTimestamp", ""))
        credentials = self._credentials(name)
        folder = self._root / UNITS / (UNIT.format(name) + ".d")
        drop_ins = sorted(folder.glob("*.conf"))
        read_at_start = [self._root / SETTINGS / f"{name}.env", *credentials, *drop_ins]
        reasons = worker.get("restart_needed", [])
        environment = self._installation.environment_of(unit.get("MainPID", "0")) if running else ""
        return {
            "configured": configured,
            "running": running,
            "state": state,
            "up": state not in ("inactive", "failed"),
            "enabled": unit.get("UnitFileState") == "enabled",
            "daemon_reload": unit.get("NeedDaemonReload") == "yes",
            "status": unit.get("StatusText", ""),
            "quiet": bool(worker.get("quiet")),
            "credentials": [str(path) for path in credentials],
            "drop_ins": [path.name for path in drop_ins],
            "drop_in_folder": folder.is_dir(),
            "data": [str(path) for path in self._data(name) if path.exists()],
            "newer": [str(path) for path in read_at_start if running and changed_at(path) > started],
            "settings": [reason for reason in reasons if reason.startswith(_OTHER_SETTINGS)],
            "reload": worker.get("reload_needed", []),
            "environment": Path(environment).name,
            "program": self._other_program(environment, started, reasons) if running else "",
        }

    def _data(self, name: str) -> list[Path]:
        """Where it writes."""
        return [self._root / folder / "runqy-worker" / name for folder in DATA]

    def _other_program(self, environment: str, started: float, reasons: Sequence[str]) -> str:
        """Why the program that runs is not the one that is installed; empty when it is."""
        for reason in reasons:
            if reason.startswith(_OTHER_PROGRAM):
                return reason
        current = (self._installation.prefix / "current").resolve()
        if environment and current.is_dir() and Path(environment).resolve() != current:
            return f"it runs from {environment}, and {current} is in use"
        if not environment and self._installation.package_installed_at() > started > 0:
            return "it was started before the package was installed that is there now"
        return ""

    def _credentials(self, name: str) -> list[Path]:
        """Its secrets; names of credentials have no dots, those of instances may."""
        return sorted(path for store in STORES for path in (self._root / store).glob(f"runqy-worker.{name}.*")
                      if owner_of(path.name) == name)  # fmt: skip

    def _traces(self) -> set[str]:
        """Names of instances of which something is there, whether they have settings or not."""
        units = self._root / UNITS
        paths = [*units.glob(UNIT.format("*") + ".d"), *units.glob("*.wants/" + UNIT.format("*"))]
        names = {path.name.removesuffix(".d").removesuffix(".service").partition("@")[2] for path in paths}
        return names | {owner_of(path.name) for store in STORES for path in (self._root / store).glob("runqy-worker.*")}

    def _units(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Properties of the units, by the unit's name."""
        command = ["systemctl", "show", "--timestamp=us+utc", f"--property={','.join(PROPERTIES)}", "--"]
        out = self._run([*command, *(UNIT.format(name) for name in names)])[1]
        blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in out.split("\n\n"))
        return {block["Id"]: block for block in blocks if "Id" in block}

    def _workers(self) -> dict[str, dict[str, Any]]:
        """What the running workers say of themselves, by name."""
        program = self._root / PROGRAM
        if not program.exists():
            return {}
        code, out, _ = self._run([str(program), "status", "--json"])
        return {each["name"]: each["status"] or {} for each in json.loads(out)} if code == 0 else {}


def owner_of(file: str) -> str:
    """The instance to which a file of the credential store belongs."""
    return file.removesuffix(".encrypted").removeprefix("runqy-worker.").rpartition(".")[0]


def started_at(text: str) -> float:
    """Unix seconds of a time that systemctl printed with `--timestamp=us+utc`; 0 when it is none."""
    words = text.split()
    if len(words) != _TIME_WORDS:
        return 0.0
    moment = dt.datetime.strptime(" ".join(words[1:3]), "%Y-%m-%d %H:%M:%S.%f")  # noqa: DTZ007 - the zone comes next
    return moment.replace(tzinfo=dt.timezone.utc).timestamp()


def changed_at(path: Path) -> float:
    """When its content, owner or mode changed last, or it was put there; 0 when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return 0.0
    return max(status.st_mtime, status.st_ctime)
