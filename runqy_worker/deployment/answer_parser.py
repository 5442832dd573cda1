"""The server's JSON answer turned into a `Registration`. Strict, and it reports all problems at once."""

from __future__ import annotations

import re
from types import MappingProxyType

from runqy_worker.deployment.answer import (
    DEFAULT_STARTUP_TIMEOUT,
    DeploymentSpec,
    QueueAnswer,
    RedisAnswer,
    Registration,
)
from runqy_worker.deployment.fields import Fields
from runqy_worker.domain import queues
from runqy_worker.domain.errors import RegistrationError
from runqy_worker.domain.launch import Mode

_MODES = {mode.value: mode for mode in Mode}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def parse_registration(document: object, *, queue: str) -> Registration:
    """Check an answer and turn it into a `Registration`.

    Args:
        document: The decoded JSON.
        queue: The queue that was asked for; where the answer lists more sub-queues than the one asked for, only
            that one is kept.

    Raises:
        RegistrationError: Something is missing or of the wrong type; the message lists everything.
    """
    problems: list[str] = []
    if not isinstance(document, dict):
        message = f"the server's answer can't be used: expected an object, found {type(document).__name__}"
        raise RegistrationError(message, retryable=False)
    fields = Fields(document, "", problems)
    registration = Registration(
        redis=_redis(fields.inner("redis")),
        queue=_queue(fields.inner("queue")),
        sub_queues=_requested(queue, _sub_queues(fields)),
        deployment=_deployment(fields.inner("deployment")),
        vaults=MappingProxyType(_variables(fields, "vaults")),
        git_token=fields.text("git_token"),
    )
    if problems:
        message = "the server's answer can't be used: " + "; ".join(problems)
        raise RegistrationError(message, retryable=False)
    return registration


def _redis(fields: Fields) -> RedisAnswer:
    db = fields.number("db")
    if db < 0:
        fields.problems.append(f"{fields.path}.db is {db}, expected 0 or more")
    return RedisAnswer(
        addr=fields.text("addr", required=True),
        password=fields.text("password"),
        db=db,
        use_tls=fields.flag("use_tls", default=False),
        username=fields.text("username"),
    )


def _queue(fields: Fields) -> QueueAnswer:
    name = fields.text("name", required=True)
    if name and not queues.is_valid(name):
        fields.problems.append(f"{fields.path}.name is {name!r}, expected letters, digits, '.', '_', ':' or '-'")
    return QueueAnswer(name, max(1, fields.number("priority", 1)))


def _sub_queues(fields: Fields) -> tuple[QueueAnswer, ...]:
    found: list[QueueAnswer] = []
    for position, item in enumerate(fields.items("sub_queues")):
        path = f"sub_queues[{position}]"
        if isinstance(item, dict):
            found.append(_queue(Fields(item, path, fields.problems)))
        else:
            fields.problems.append(f"{path} is not an object")
    return tuple(found)


def _requested(queue: str, served: tuple[QueueAnswer, ...]) -> tuple[QueueAnswer, ...]:
    """Only the sub-queue that was asked for, when one was; all of a parent's."""
    if queues.is_parent(queue):
        return served
    wanted = queue.replace(":", ".")
    return tuple(item for item in served if item.name.replace(":", ".") == wanted) or served


def _deployment(fields: Fields) -> DeploymentSpec:
    mode = fields.text("mode") or Mode.LONG_RUNNING.value
    if mode not in _MODES:
        fields.problems.append(f"{fields.path}.mode is {mode!r}, expected one of {', '.join(_MODES)}")
    timeout = fields.number("startup_timeout_secs")
    vaults: list[str] = []
    for position, name in enumerate(fields.items("vaults")):
        if isinstance(name, str):
            vaults.append(name)
        else:
            fields.problems.append(f"{fields.path}.vaults[{position}] is not text")
    return DeploymentSpec(
        git_url=fields.text("git_url", required=True),
        startup_cmd=fields.text("startup_cmd", required=True),
        branch=fields.text("branch"),
        code_path=fields.text("code_path"),
        mode=_MODES.get(mode, Mode.LONG_RUNNING),
        env_vars=MappingProxyType(_variables(fields, "env_vars")),
        startup_timeout=float(timeout) if timeout > 0 else DEFAULT_STARTUP_TIMEOUT,
        # The server always says it, and its default is false. Answers without it come from servers that
        # knew no such choice and whose workers always stored results.
        redis_storage=fields.flag("redis_storage", default=True),
        vaults=tuple(vaults),
        requirements_file=fields.text("requirements_file"),
    )


def _variables(fields: Fields, key: str) -> dict[str, str]:
    values = fields.texts(key)
    where = f"{fields.path}.{key}" if fields.path else key
    for name, value in values.items():
        if not _VARIABLE.match(name):
            fields.problems.append(f"{where} has the name {name!r}, expected letters, digits and '_'")
        if "\0" in value:
            fields.problems.append(f"{where}.{name} contains a NUL byte, which no variable can hold")
    return values
