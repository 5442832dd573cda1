"""The control socket's language: one JSON object per line, in both directions.

    request     {"v": 1, "verb": "deploy", "wait": true}
    progress    {"v": 1, "final": false, "progress": {"action": "deploy_fetching", "message": "..."}}
    answer      {"v": 1, "final": true, "ok": true, ...}
    refusal     {"v": 1, "final": true, "ok": false, "reason": "forbidden", "error": "...", "oldest": 1, "newest": 1}

Several requests may follow one another on a connection; each gets any number of progress lines and one final one. Keys
that one side does not know are left alone. `v` rises when an old client would misunderstand an answer, or an old worker
a request: new verbs and new keys are no reason.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runqy_worker.domain.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Mapping

NEWEST = 1
OLDEST = 1
"""Versions of the language that are understood here."""
LONGEST_REQUEST = 64 * 1024
"""Bytes of a request, with its line break."""
LONGEST_ANSWER = 64 * 1024 * 1024
BEAT = 5.0
"""Seconds between two lines of progress, at most, while a request is worked on."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One line."""
    return json.dumps({"v": NEWEST, **message}, separators=(",", ":"), default=str).encode() + b"\n"


def decode_request(line: bytes) -> dict[str, Any]:
    """A request of a version that is understood here, with a verb.

    Raises:
        ControlError: It is none; the reason is `request` or `version`.
    """
    request = _decode(line)
    version = request.get("v")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ControlError(f"v: found {version!r}, expected the version of the protocol, a number", reason="request")
    if not OLDEST <= version <= NEWEST:
        message = f"v: found {version}, but this worker speaks {versions(OLDEST, NEWEST)} of the control protocol"
        raise ControlError(message, reason="version")
    if not isinstance(request.get("verb"), str):
        raise ControlError(f"verb: found {request.get('verb')!r}, expected a name such as status", reason="request")
    return request


def decode_answer(line: bytes) -> dict[str, Any]:
    """An answer or a line of progress.

    Raises:
        ControlError: It is none.
    """
    try:
        return _decode(line)
    except ControlError as error:
        raise ControlError(f"what listens there is no worker of this program: {error}", reason="no_answer") from None


def refusal(error: ControlError, program: str) -> dict[str, Any]:
    """The final line for a request that is not done."""
    return {
        "final": True,
        "ok": False,
        "reason": error.reason,
        "error": str(error),
        "oldest": OLDEST,
        "newest": NEWEST,
        "program": program,
    }


def versions(oldest: int, newest: int) -> str:
    """`version 1`, or `versions 1 to 3`."""
    return f"version {newest}" if oldest == newest else f"versions {oldest} to {newest}"


def _decode(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ControlError(f"found {line[:80]!r}, expected one JSON object on a line", reason="request") from None
    if not isinstance(message, dict):
        raise ControlError(f"found a JSON {type(message).__name__}, expected an object", reason="request")
    return message
