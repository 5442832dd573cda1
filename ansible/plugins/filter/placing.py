"""Which files are to be written, and which removed, while instances stay. Pure: it looks at its arguments only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.runqy.worker.plugins.plugin_utils.places import (
    CUDA_DROP_IN,
    ENCRYPTED_STORE,
    OWN_DROP_IN,
    STORE,
    drop_ins_of,
    here,
    secret_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.runqy.worker.plugins.plugin_utils.places import Found, Instance


def unlisted(instances: Sequence[Instance], found: Found) -> list[str]:
    """Secrets on the host that the instances don't have, and encrypted ones that the plain ones replace.

    Other encrypted ones were made on the host itself, for its key, and stay.
    """
    return [
        path
        for each in instances
        for path in here(found, each["name"])["credentials"]
        if _is_encrypted(path) == (_plain(path) in {secret_of(each["name"], key) for key in each["credentials"]})
    ]


def _is_encrypted(path: str) -> bool:
    return path.startswith(ENCRYPTED_STORE)


def _plain(path: str) -> str:
    """The same secret's path when it is not encrypted."""
    return f"{STORE}/{path.rpartition('/')[2].removesuffix('.encrypted')}"


def folders(instances: Sequence[Instance]) -> list[str]:
    """Directories of drop-ins that are needed."""
    return [drop_ins_of(each["name"]) for each in instances if each["drop_in"] or each["cuda"]]


def leftovers(instances: Sequence[Instance], found: Found) -> list[dict[str, str]]:
    """Drop-ins of the role's that the instances no longer ask for."""
    return [
        {"name": each["name"], "path": f"{drop_ins_of(each['name'])}/{file}"}
        for each in instances
        for file, wanted in ((OWN_DROP_IN, each["drop_in"]), (CUDA_DROP_IN, each["cuda"]))
        if not wanted and file in here(found, each["name"])["drop_ins"]
    ]


def for_systemd(files: Sequence[Mapping[str, Any]], version: int) -> list[Mapping[str, Any]]:
    """Those of the files that this version of systemd understands."""
    return [each for each in files if each.get("since", 0) <= version]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name -> filter."""
        return {
            "unlisted": unlisted,
            "folders": folders,
            "leftovers": leftovers,
            "for_systemd": for_systemd,
        }
