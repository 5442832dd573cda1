"""What is to be done with instances, from what is wanted and what was found. Pure: it looks at its arguments only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
                names.add(_owner(item) if isinstance(item, str) else item["name"])
    return sorted(names)


def _owner(path: str) -> str:
    """The instance of a secret's path."""
    name = path.rpartition("/")[2].removesuffix(".encrypted")
    return name.removeprefix("runqy-worker.").rpartition(".")[0]


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
        if not now["running"]:
            to["start"].append(name)
        elif restart and (name in changed or now["newer"] or now["settings"] or (program and now["program"])):
            to["restart"].append(name)
        elif restart and (name in settings or main or now["reload"]):
            to["reload"].append(name)
    return to


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


def running(found: Found, only: Collection[str] = ()) -> list[str]:
    """Names of the instances that run, of those asked for."""
    return [name for name, now in sorted(found.items()) if now["running"] and (not only or name in only)]


def quiet(found: Found) -> list[str]:
    """Names of the instances that run and claim nothing because they were told so."""
    return [name for name in running(found) if found[name]["quiet"]]


def due(host: Mapping[str, Any], wanted: str) -> bool:
    """Whether the host is to get another version, or instances run another one than it has."""
    return wanted not in ("", host["version"]) or any(now["program"] for now in host["instances"].values())


def strayed(names: Sequence[str], found: Found) -> list[str]:
    """Of the instances that ran those that don't, or not from what is installed."""
    return [name for name in names if not here(found, name)["running"] or here(found, name)["program"]]


def outdated(host: Mapping[str, Any], wanted: str, keep: int) -> list[str]:
    """Environments that can go: all but the newest, the one in use before, those that instances run from, and tools."""
    programs = [now["program"] for now in host["instances"].values()]
    ours = [name for name in host["environments"] if not name.startswith(TOOLS) and name != wanted]
    spare = ours[: max(0, len(ours) + 1 - keep)]
    return [name for name in spare if name != host["version"] and not any(f"/{name}" in each for each in programs)]


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
            "quiet": quiet,
            "due": due,
            "strayed": strayed,
            "outdated": outdated,
        }
