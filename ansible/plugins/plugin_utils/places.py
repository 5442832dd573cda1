"""Where things of an instance are on a host, and what an instance looks like of which nothing is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    Instance = Mapping[str, Any]
    Found = Mapping[str, Mapping[str, Any]]
    """What `worker_info` says of the instances, by name."""

STORE = "/etc/credstore"
ENCRYPTED_STORE = "/etc/credstore.encrypted"
SETTINGS = "/etc/runqy-worker/instances"
UNITS = "/etc/systemd/system"
OWN_DROP_IN = "ansible.conf"
CUDA_DROP_IN = "cuda.conf"
_NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(("configured", "running", "up", "enabled", "quiet", "drop_in_folder"), False),
    **dict.fromkeys(("credentials", "drop_ins", "newer", "settings", "reload", "data"), ()),
    **dict.fromkeys(("status", "program", "environment"), ""),
    "state": "inactive",
}


def unit_of(name: str) -> str:
    """The unit of an instance."""
    return f"runqy-worker@{name}.service"


def secret_of(name: str, credential: str) -> str:
    """Where a secret of an instance goes."""
    return f"{STORE}/runqy-worker.{name}.{credential}"


def drop_ins_of(name: str) -> str:
    """Directory of what changes an instance's unit."""
    return f"{UNITS}/{unit_of(name)}.d"


def here(found: Found, name: str) -> Mapping[str, Any]:
    """What was found of an instance."""
    return found.get(name, _NOTHING)
