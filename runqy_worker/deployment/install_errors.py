"""What an installer said, turned into what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.deployment.commands import with_tail
from runqy_worker.deployment.meanings import Meaning, explain
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = r"(?P<name>[^\s(,;'\"`]+)"
# The first that matches wins.
_MEANINGS = (
    Meaning(r"No space left on device|os error 28|Errno 28|Disk quota exceeded", "the disk is full", retryable=True),
    Meaning(
        r"Invalid requirement|Couldn't parse|Failed to parse|Expected package name|Invalid URL given|"
        r"InvalidRequirement|Expected one of `@`|the start of a requirement",
        "a requirement line can't be understood",
    ),
    Meaning(
        r"\b40[13]\b|Unauthorized|Forbidden|Authentication error",
        "the package index refused access: see deployment.index_username and index_password",
    ),
    Meaning(
        r"Temporary failure in name resolution|Name or service not known|dns error|failed to lookup address|"
        r"Connection refused|NewConnectionError|Network is unreachable|Connection reset|timed out|tcp connect error|"
        r"error sending request|Could not fetch URL|ReadTimeout|returned error: 5\d\d|Failed to fetch|ProxyError",
        "the package index can't be reached",
        retryable=True,
    ),
    Meaning(
        r"requires a different Python|requires-python|requires Python",
        "a package does not support this Python",
    ),
    Meaning(
        r"command '?\S*(gcc|g\+\+|cc|clang|cl|rustc|cargo|cmake)\S*'? failed|Failed building wheel|Failed to build|"
        r"Could not build wheels|metadata-generation-failed|Getting requirements to build|build backend|"
        r"subprocess-exited-with-error|Building .* failed",
        "a package had to be compiled and failed (are compilers and headers installed?)",
    ),
    Meaning(rf"No matching distribution found for {_NAMED}", "the package {name} was not found for this Python"),
    Meaning(rf"satisfies the requirement {_NAMED}", "the package {name} was not found for this Python"),
    Meaning(rf"Because {_NAMED} was not found", "the package {name} was not found"),
    Meaning(
        r"No solution found|ResolutionImpossible|conflicting dependencies|unsatisfiable", "the requirements conflict"
    ),
    Meaning(r"DO NOT MATCH THE HASHES|Hash mismatch", "a download does not have the hash that is pinned"),
)


def install_error(tail: Sequence[str], what: str) -> DeploymentError:
    """An error that says what happened.

    Args:
        tail: The installer's last lines, without secrets.
        what: What was being installed, as in "requirements.txt".
    """
    found = explain(_MEANINGS, tail, {})
    if found is None:
        return DeploymentError(with_tail(f"installing {what} failed", tail, lines=15), step="install", retryable=False)
    text, retryable = found
    message = with_tail(f"installing {what} failed: {text}", tail, lines=15)
    return DeploymentError(message, step="install", retryable=retryable)
