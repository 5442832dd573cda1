"""Checks what an argument spec can't say of the worker's variables. Pure: it looks at its arguments only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_SIZE = re.compile(r"(\d+(\.\d+)?[KMGTP]?|\d+%|infinity)\Z")
_BATCH = re.compile(r"[1-9]\d*%?\Z")
_QUOTA = re.compile(r"\d+%\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NAME_RULE = "1 to 64 letters, digits and . _ -, the first a letter or a digit"
_SECRETS = {
    "server.api_key": "api_key",
    "git.token": "git_token",
    "deployment.index_password": "index_password",
    "redis.password": "redis_password",
    "redis.sentinel_password": "sentinel_password",
    "health.token": "health_token",
}
"""Settings that are secrets, and the credentials that they should be."""
_DEB = re.compile(r"[^_/]+_[^_/]+_[^_/]+\.deb\Z")


def misfits(variables: Mapping[str, Any]) -> list[str]:
    """What is wrong with the variables of the role, one sentence each.

    Args:
        variables: Name without `runqy_worker_` -> value.
    """
    instances = variables["instances"]
    names = [str(each["name"]) for each in instances]
    twice = sorted({name for name in names if names.count(name) > 1})
    found = [f"runqy_worker_instances: {name} is there twice" for name in twice]
    found += _of_sources(variables)
    found += _of_batches(variables["serial"])
    found += _secrets(variables["config"], "runqy_worker_config", "runqy_worker_credentials")
    found += _of_limits(variables["slice"], "runqy_worker_slice")
    keys = [each["name"] for each in variables["git_keys"]]
    for each in instances:
        found += _of_instance(each, keys)
    return [*found, *_without_key(variables)]


def _without_key(variables: Mapping[str, Any]) -> Iterator[str]:
    """Instances that no server would let in. Those whose secrets somebody else brings are not looked at."""
    if variables["unlisted_credentials"] == "keep" or variables["credentials"].get("api_key"):
        return
    for each in variables["instances"]:
        own = (each.get("config") or {}).get("server") or {}
        url = own.get("url", variables["server_url"] or (variables["config"].get("server") or {}).get("url"))
        if each.get("state") != "absent" and url and not (each.get("credentials") or {}).get("api_key"):
            yield f"runqy_worker_instances[{each['name']}]: has no key for {url}, expected one in runqy_worker_api_key"


def _of_batches(serial: Any) -> Iterator[str]:
    for each in serial if isinstance(serial, list) else [serial]:
        if not _BATCH.match(str(each)):
            yield f"runqy_worker_serial: found {each!r}, expected a number of hosts, or a part of them such as 25%"


def _of_sources(variables: Mapping[str, Any]) -> Iterator[str]:
    """How it is to be installed."""
    wheel, deb = variables["wheel"], variables["deb"]
    for kind, source in (("wheel", wheel), ("deb", deb)):
        if source.startswith(("http://", "https://")) and not variables[f"{kind}_checksum"]:
            yield f"runqy_worker_{kind}_checksum: is empty, expected sha256:... of what the URL leads to"
    if wheel and not wheel.endswith(".whl"):
        yield f"runqy_worker_wheel: found {wheel!r}, expected a file or URL that ends in .whl"
    if deb and not _DEB.match(deb.rpartition("/")[2]):
        yield f"runqy_worker_deb: found {deb!r}, expected NAME_VERSION_ARCHITECTURE.deb"
    source = variables["apt_source"]
    for key in ("uris", "suites"):
        if source and not source.get(key):
            yield f"runqy_worker_apt_source: {key!r} is missing, expected a text"


def _of_instance(instance: Mapping[str, Any], keys: Sequence[str]) -> Iterator[str]:
    where = f"runqy_worker_instances[{instance['name']}]"
    if not _NAME.match(str(instance["name"])):
        yield f"{where}: found this name, expected {_NAME_RULE}"
    yield from _of_limits(instance, where)
    yield from _secrets(instance.get("config") or {}, where + ".config", "credentials")
    for name in instance.get("environment") or {}:
        if not _VARIABLE.match(name):
            yield f"{where}.environment: found {name!r}, expected a name of letters, digits and _"
    if instance.get("gpus") and instance.get("device") != "cuda":
        yield f"{where}: found gpus without device: cuda, expected both"
    key = instance.get("git_key")
    if key and key not in keys:
        known = ", ".join(keys) or "none"
        yield f"{where}.git_key: found {key!r}, expected one of runqy_worker_git_keys ({known})"


def _of_limits(limits: Mapping[str, Any], where: str) -> Iterator[str]:
    for key in ("memory_high", "memory_max"):
        value = limits.get(key)
        if value and not _SIZE.match(str(value)):
            yield f"{where}.{key}: found {value!r}, expected a size such as 24G, or 50%"
    quota = limits.get("cpu_quota")
    if quota and not _QUOTA.match(str(quota)):
        yield f"{where}.cpu_quota: found {quota!r}, expected percent of one processor such as 400%"


def _secrets(config: Mapping[str, Any], where: str, place: str) -> Iterator[str]:
    """Secrets that would end in a file that everybody may read."""
    for path, credential in _SECRETS.items():
        section, _, key = path.partition(".")
        values = config.get(section)
        if isinstance(values, dict) and values.get(key):
            yield f"{where}: {path} is a secret, expected it in {place}.{credential}"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name -> filter."""
        return {"misfits": misfits}
