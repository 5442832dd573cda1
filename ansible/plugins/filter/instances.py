"""Turns the role's variables into what is written on a host. Pure: it looks at its arguments only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.runqy.worker.plugins.plugin_utils.places import secret_of, unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Settings = dict[str, dict[str, Any]]

CREDENTIALS = (
    *("api_key", "git_token", "ssh_key", "known_hosts", "index_password", "redis_password", "sentinel_password"),
    "health_token",
)
LIMITS = {"memory_high": "MemoryHigh", "memory_max": "MemoryMax", "cpu_quota": "CPUQuota", "tasks_max": "TasksMax"}
_LINES = ("ssh_key", "known_hosts")
"""Files of lines, whose last line must end, too."""
_TRUE = frozenset(("yes", "on", "true", "1", "y", "t"))
_PLAIN = frozenset("_-+=.,:/@%")


def complete(
    instances: Sequence[Mapping[str, Any]],
    credentials: Mapping[str, str],
    git_keys: Sequence[Mapping[str, str]],
) -> list[dict[str, Any]]:
    """The instances with all that was left out, but only the names of their secrets: Ansible shows what it loops over.

    Args:
        instances: As in `runqy_worker_instances`.
        credentials: What all instances share: credential -> secret.
        git_keys: As in `runqy_worker_git_keys`.

    Returns:
        One dictionary per instance, with a value for each key.
    """
    return [_complete(each, [*_secrets(each, credentials, git_keys)]) for each in instances]


def _complete(given: Mapping[str, Any], credentials: Sequence[str]) -> dict[str, Any]:
    state, name = given.get("state") or "started", str(given["name"])
    return {
        "name": name,
        "unit": unit_of(name),
        "state": state,
        "enabled": state == "started" if given.get("enabled") is None else _true(given["enabled"]),
        "settings": _settings(given),
        "environment": _environment(given),
        "credentials": list(credentials),
        "drop_in": limits(given) + _owner(given),
        "cuda": given.get("device") == "cuda",
        "user": given.get("user") or "",
        "group": given.get("group") or "",
    }


def _true(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in _TRUE


def secrets(
    instances: Sequence[Mapping[str, Any]],
    credentials: Mapping[str, str],
    git_keys: Sequence[Mapping[str, str]],
) -> list[dict[str, str]]:
    """One entry for each secret of the instances that stay: whose it is, where it goes, and what it is.

    Args:
        instances: As for `complete`, and the others, too.
        credentials: See there.
        git_keys: See there.
    """
    return [
        {"name": str(each["name"]), "path": secret_of(each["name"], name), "content": content}
        for each in instances
        if each.get("state") != "absent"
        for name, content in _secrets(each, credentials, git_keys).items()
    ]


def _secrets(
    given: Mapping[str, Any], shared: Mapping[str, str], git_keys: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """Name of the credential -> its content. The git key wins over what all share, the instance's own over both."""
    found = dict(shared)
    key = _git_key(given.get("git_key"), git_keys)
    if key is not None:
        found["ssh_key"] = key["content"]
        found["known_hosts"] = key.get("known_hosts") or found.get("known_hosts", "")
    found.update(given.get("credentials") or {})
    return {key.replace("_", "-"): _content(key, found[key]) for key in CREDENTIALS if found.get(key)}


def _git_key(name: str | None, keys: Sequence[Mapping[str, str]]) -> Mapping[str, str] | None:
    """The key of that name; where none is given, the only one there is."""
    if name:
        return next((key for key in keys if key["name"] == name), None)
    return keys[0] if name is None and len(keys) == 1 else None


def _settings(given: Mapping[str, Any]) -> Settings:
    """What goes into the instance's YAML file."""
    queues = given.get("queues") or [str(given["name"])]
    worker: dict[str, Any] = {"queue": queues[0]} if len(queues) == 1 else {"queues": list(queues)}
    if given.get("concurrency"):
        worker["concurrency"] = int(given["concurrency"])
    return overlay({"worker": worker}, given.get("config") or {})


def overlay(base: Mapping[str, Mapping[str, Any]], above: Mapping[str, Mapping[str, Any] | None]) -> Settings:
    """Settings with others laid over them; those that are set to nothing are left out."""
    result: Settings = {section: dict(values) for section, values in base.items()}
    for section, values in above.items():
        result.setdefault(section, {}).update(values or {})
    kept = {
        section: {key: value for key, value in values.items() if value is not None and value != ""}
        for section, values in result.items()
    }
    return {section: values for section, values in kept.items() if values}


def _environment(given: Mapping[str, Any]) -> dict[str, str]:
    """The instance's variables, as text."""
    variables: dict[str, Any] = {}
    if given.get("device") == "cuda" and given.get("gpus"):
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu) for gpu in given["gpus"])
    variables.update(given.get("environment") or {})
    return {name: _text(value) for name, value in variables.items()}


def limits(given: Mapping[str, Any]) -> list[str]:
    """Lines that set the limits of a unit."""
    return [f"{name}={given[key]}" for key, name in LIMITS.items() if given.get(key)]


def _owner(given: Mapping[str, Any]) -> list[str]:
    user = given.get("user")
    return [f"User={user}", f"Group={given.get('group') or user}"] if user else []


def _content(key: str, secret: str) -> str:
    text = str(secret).rstrip("\r\n")
    return f"{text}\n" if key in _LINES else text


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def quoted(value: object) -> str:
    """A value as systemd reads it in an environment file."""
    text = str(value)
    if text and all(character.isalnum() or character in _PLAIN for character in text):
        return text
    for character in '\\"`$':
        text = text.replace(character, f"\\{character}")
    return f'"{text}"'


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name -> filter."""
        return {
            "complete": complete,
            "secrets": secrets,
            "overlay": overlay,
            "quoted": quoted,
            "limits": limits,
        }
