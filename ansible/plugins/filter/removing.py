"""What is to be removed. Pure: it looks at its arguments only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.runqy.worker.plugins.plugin_utils.places import SETTINGS, UNITS, drop_ins_of, here

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ansible_collections.runqy.worker.plugins.plugin_utils.places import Found, Instance

_TRACES = ("configured", "up", "enabled", "credentials", "drop_ins")
_DATA = ("lib", "cache", "log")
_SHARED = (
    *("/etc/runqy-worker", f"{UNITS}/runqy.slice.d", f"{UNITS}/runqy-worker.target.wants", "/run/runqy-worker"),
    *("/opt/runqy-worker", "/var/cache/runqy-worker-packages"),
    *("/etc/apt/keyrings/runqy-worker.asc", "/etc/apt/sources.list.d/runqy-worker.sources"),
)


def still_there(instances: Sequence[Instance], found: Found, *, purge_data: bool = False) -> list[Instance]:
    """Those of which something is left on the host that is to go."""
    traces = (*_TRACES, "data") if purge_data else _TRACES
    return [each for each in instances if any(here(found, each["name"])[key] for key in traces)]


def files_of(instances: Sequence[Instance], found: Found, *, purge_data: bool = False) -> list[str]:
    """Every file and directory of instances that are to go."""
    return [path for each in instances for path in _files_of(each["name"], found, purge_data=purge_data)]


def _files_of(name: str, found: Found, *, purge_data: bool) -> list[str]:
    settings = [f"{SETTINGS}/{name}.{kind}" for kind in ("yml", "env")]
    data = [f"/var/{kind}/runqy-worker/{name}" for kind in _DATA] if purge_data else []
    return [*settings, *here(found, name)["credentials"], drop_ins_of(name), *data]


def all_files(host: Mapping[str, Any], *, purge_data: bool = False) -> list[str]:
    """Every file and directory that the role may have put on a host, but for units."""
    found = host["instances"]
    paths = [path for name in sorted(found) for path in _files_of(name, found, purge_data=False)]
    paths += _SHARED
    if host["method"] == "wheel":
        paths.append("/usr/bin/runqy-worker")
    if not host["foreign_uv"]:
        paths.append("/usr/local/bin/uv")
    return paths + ([f"/var/{kind}/runqy-worker" for kind in _DATA] if purge_data else [])


def spare_packages(files: Sequence[str], versions: Collection[str], keep: int) -> list[str]:
    """Files of packages that can go: all but the newest, and those of the versions named."""
    spare = files[: max(0, len(files) - keep)]
    return [path for path in spare if path.rpartition("/")[2].split("_")[1] not in versions]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name -> filter."""
        return {
            "still_there": still_there,
            "files_of": files_of,
            "all_files": all_files,
            "spare_packages": spare_packages,
        }
