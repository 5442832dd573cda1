"""What is to be done with instances, from what is wanted and what was found. Pure: it looks at its arguments only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.runqy.worker.plugins.module_utils.looking import owner_of
from ansible_collections.runqy.worker.plugins.plugin_utils.doctor import problems_of
from ansible_collections.runqy.worker.plugins.plugin_utils.places import here

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from ansible_collections.runqy.worker.plugins.plugin_utils.places import Found, Instance

TOOLS = "uv-"
"""How environments begin that are not the worker's."""


def changed_items(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the instances to which the changed items of registered loops belong."""
    names = set()
    for result in results:
        for each in result.get("results", []):
            if each.get("changed"):
                item = each["item"]
                names.add(owner_of(item.rpartition("/")[2]) if isinstance(item, str) else item["name"])
    return sorted(names)


def actions(
    instances: Sequence[Instance],
    found: Found,
    *,
    changed: Collection[str] = (),
    settings: Collection[str] = (),
    main: bool = False,
    program: bool = False,
    restart: bool = True,
) -> dict[str, list[str]]:
    """What is to be done: names to `start`, to `reload` and to `restart`; none is in two of them.

    Args:
        instances: As `complete` makes them.
        found: The instances as `worker_info` found them after the files were written.
        changed: Names of those of which a file that is read at the start was changed just now.
        settings: Names of those whose YAML file was.
        main: Whether the file that they share was.
        program: Restart those that run another version than the one installed.
        restart: Restart and reload at all.
    """
    to: dict[str, list[str]] = {"start": [], "reload": [], "restart": []}
    for each in instances:
        name, now = each["name"], here(found, each["name"])
        if each["state"] != "started":
            continue
        if not now["up"]:
            to["start"].append(name)
        elif restart and (name in changed or _is_stale(now, program=program)):
            to["restart"].append(name)
        elif restart and (name in settings or main or now["reload"]):
            to["reload"].append(name)
    return to


def _is_stale(now: Mapping[str, Any], *, program: bool) -> bool:
    """Whether it needs a restart to go by what is on the disk; so does one that waits for its next attempt to start."""
    return bool(not now["running"] or now["newer"] or now["settings"] or (program and now["program"]))


def unsettled(names: Sequence[str], found: Found) -> list[str]:
    """Of the instances that were reloaded those that need a restart nevertheless."""
    return [name for name in names if here(found, name)["settings"]]


def differences(instances: Sequence[Instance], found: Found) -> list[str]:
    """Where the host is not as described, one sentence each."""
    return [text for each in instances for text in _differences(each, here(found, each["name"]))]


def _differences(wanted: Instance, now: Mapping[str, Any]) -> Iterator[str]:
    name, state = wanted["name"], wanted["state"]
    if state == "started" and not now["running"]:
        yield f"{name}: found it {now['state']}, expected it to run: {now['status']}"
    if state != "started" and now["running"]:
        yield f"{name}: found it running, expected it {state}"
    if state == "absent" and now["configured"]:
        yield f"{name}: found settings, expected none"


def behind(names: Sequence[str], found: Found) -> list[str]:
    """Of the instances that ran those that run another version than the one installed, one sentence each."""
    return [f"{name}: {here(found, name)['program']}" for name in names if here(found, name)["program"]]


def running(found: Found, only: Collection[str] = ()) -> list[str]:
    """Names of the instances that run, of those asked for."""
    return [name for name, now in sorted(found.items()) if now["running"] and (not only or name in only)]


def up(found: Found, only: Collection[str] = ()) -> list[str]:
    """Names of the instances that run, start, or wait for their next attempt to start, of those asked for."""
    return [name for name, now in sorted(found.items()) if now["up"] and (not only or name in only)]


def claiming(found: Found) -> list[str]:
    """Names of the instances that run and were not told to claim nothing."""
    return [name for name in running(found) if not found[name]["quiet"]]


def quieted(names: Sequence[str], found: Found) -> list[str]:
    """Of the instances that were claiming those that still run, but claim nothing now."""
    return [name for name in running(found, names) if found[name]["quiet"]] if names else []


def refused(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the instances in which `runqy-worker doctor --json` found a problem that is not their unit's state.

    Args:
        results: Of the loop over their names.
    """
    return [each["item"] for each in results if each.get("rc") and not _only_of_unit(each.get("stdout", ""))]


def _only_of_unit(text: str) -> bool:
    """Whether all problems are of the unit, such as that it failed before: that is what is about to be mended."""
    found = problems_of(text)
    return bool(found) and all(finding["check"] == "unit" for finding in found)


def serving_version(host: Mapping[str, Any]) -> str:
    """The version that instances run from, where they agree on one; else the one installed."""
    names = {now["environment"] for now in host["instances"].values() if now["environment"]}
    return names.pop() if len(names) == 1 else str(host["version"])


def due(host: Mapping[str, Any], wanted: str) -> bool:
    """Whether the host is to get another version, or instances run another one than it has."""
    return wanted not in ("", host["version"]) or any(now["program"] for now in host["instances"].values())


def strayed(names: Sequence[str], found: Found) -> list[str]:
    """Of the instances that ran those that don't, or not from what is installed."""
    return [name for name in names if not here(found, name)["running"] or here(found, name)["program"]]


def outdated(host: Mapping[str, Any], wanted: str, keep: int, tool: str = "") -> list[str]:
    """Environments that can go: all but the newest, the one in use before, and those that instances run from.

    Args:
        host: What `worker_info` found.
        wanted: The environment that is in use now.
        keep: How many stay, that one included.
        tool: Directory of the tool's environment that is in use; those of its other versions can go.
    """
    ours = [name for name in host["environments"] if not name.startswith(TOOLS) and name != wanted]
    spare = ours[: max(0, len(ours) + 1 - keep)]
    used = {host["version"], *(now["environment"] for now in host["instances"].values())}
    tools = [name for name in host["environments"] if name.startswith(TOOLS) and not tool.endswith(f"/{name}")]
    return [name for name in spare if name not in used] + tools


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name -> filter."""
        return {
            "changed_items": changed_items,
            "actions": actions,
            "unsettled": unsettled,
            "differences": differences,
            "running": running,
            "up": up,
            "claiming": claiming,
            "quieted": quieted,
            "refused": refused,
            "serving_version": serving_version,
            "behind": behind,
            "due": due,
            "strayed": strayed,
            "outdated": outdated,
        }
