"""The answer to a worker's registration, and refusals, as the runqy server words them."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from runqy_worker.domain import queues

if TYPE_CHECKING:
    from runqy_worker.deployment.answer import RedisAnswer
    from runqy_worker.deployment.queues_file import QueueDefinition, QueuesFile


class RefusedCallError(Exception):
    """A call that is answered with an error.

    Args:
        status: The HTTP status.
        message: What to say.
        single: Say it as registration does (`error`), instead of as a list (`errors`).
    """

    def __init__(self, status: HTTPStatus, message: str, *, single: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"error": message} if single else {"errors": [message]}


def registration_answer(definitions: QueuesFile, redis: RedisAnswer, request: dict[str, Any]) -> dict[str, Any]:
    """What the runqy server would answer to a registration.

    Raises:
        RefusedCallError: The request is unusable, or the queue unknown.
    """
    queue = request.get("queue")
    if not isinstance(queue, str) or not queue:
        raise RefusedCallError(HTTPStatus.BAD_REQUEST, "queue name is required", single=True)
    if not queues.is_valid(queue) or ":" in queue:
        raise RefusedCallError(HTTPStatus.BAD_REQUEST, "invalid queue name", single=True)
    found = definitions.find(queue)
    if found is None:
        raise RefusedCallError(HTTPStatus.NOT_FOUND, f"queue '{queue}' not found", single=True)
    definition, served = found
    answer = {
        "redis": {name: value for name, value in asdict(redis).items() if name != "username" or value},
        "queue": {"name": queue, "priority": served[0].priority},
        "sub_queues": [asdict(item) for item in served],
        "deployment": _deployment(definition),
    }
    if definition.vault_entries:
        answer["vaults"] = dict(definition.vault_entries)
    if definition.git_token:
        answer["git_token"] = definition.git_token
    return answer


def _deployment(definition: QueueDefinition) -> dict[str, Any]:
    spec = definition.deployment
    optional = {
        "code_path": spec.code_path,
        "vaults": list(spec.vaults),
        "env_vars": dict(spec.env_vars),
        "requirements_file": spec.requirements_file,
    }
    return {
        "git_url": spec.git_url,
        "branch": spec.branch,
        "startup_cmd": spec.startup_cmd,
        "mode": spec.mode.value,
        "startup_timeout_secs": round(spec.startup_timeout),
        "redis_storage": spec.redis_storage,
    } | {name: value for name, value in optional.items() if value}
