"""Says what happened, for people. Pure: it looks at its arguments only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.runqy.worker.plugins.plugin_utils.doctor import problems_of
from ansible_collections.runqy.worker.plugins.plugin_utils.places import here, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ansible_collections.runqy.worker.plugins.plugin_utils.places import Found


def reasons(result: Mapping[str, Any]) -> list[str]:
    """What the failed items of a task's result said."""
    failed = [each for each in result.get("results", [result]) if each.get("failed")]
    return [_reason(each) for each in failed] or [str(result.get("msg", "no reason was given"))]


def _reason(result: Mapping[str, Any]) -> str:
    if problems := problems_of(result.get("stdout", "")):
        told = ("{check}: {found} -> {advice}".format(**each) for each in problems)
        return "\n".join([f"{_name(result.get('item', ''))}:", *told])
    said = [str(result.get(key, "")).strip() for key in ("msg", "stdout", "stderr")]
    return "\n".join(text for text in said if text and text != "non-zero return code")


def failed_units(result: Mapping[str, Any]) -> list[str]:
    """Units of the failed items of a task's result."""
    failed = [each for each in result.get("results", []) if each.get("failed")]
    return [unit_of(_name(each["item"])) for each in failed if "item" in each]


def reasons_of(results: Sequence[Mapping[str, Any]], names: Collection[str]) -> list[str]:
    """What the results of a loop over names say of some of them."""
    return [_reason(each) for each in results if each.get("item") in names]


def states(found: Found, names: Sequence[str]) -> list[str]:
    """How instances are, one line each."""
    return [f"{name}: {state_of(found, unit_of(name))}" for name in names]


def state_of(found: Found, unit: str) -> str:
    """What systemd says of a unit, and the worker of itself."""
    now = here(found, unit.partition("@")[2].removesuffix(".service"))
    return ", ".join(filter(None, (now["state"], now["status"])))


def _name(item: Any) -> str:
    return str(item if isinstance(item, str) else item["name"])


def summaries(status: Sequence[Mapping[str, Any]], host: Mapping[str, Any], only: Collection[str] = ()) -> list[str]:
    """One line for what is installed, and one per instance.

    Args:
        status: What `runqy-worker status --json` printed.
        host: What `worker_info` found.
        only: Names of the instances to tell of; all when empty.
    """
    installed = " ".join(filter(None, (host["method"], host["version"]))) or "not installed"
    return [
        f"{installed}, systemd {host['systemd']}",
        *(_line(each) for each in status if not only or each["name"] in only),
    ]


def _line(instance: Mapping[str, Any]) -> str:
    told = instance["status"] or {}
    summary = told.get("summary") or instance["error"] or instance["state"]
    return (
        f"{instance['name']}: {'; '.join([summary, *told.get('restart_needed', []), *told.get('reload_needed', [])])}"
    )


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name -> filter."""
        return {
            "reasons": reasons,
            "failed_units": failed_units,
            "reasons_of": reasons_of,
            "states": states,
            "state_of": state_of,
            "summaries": summaries,
        }
