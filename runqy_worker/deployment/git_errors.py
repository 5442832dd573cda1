"""What git said, turned into what it means and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.deployment.commands import with_tail
from runqy_worker.deployment.meanings import Meaning, explain
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The first that matches wins: precise ones before the general words that git adds.
_MEANINGS = (
    Meaning(r"No space left on device|Disk quota exceeded", "the disk is full", retryable=True),
    Meaning(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of {host} differs from the one in known_hosts ({known_hosts}). If the host was set up anew, "
        "replace its line there",
    ),
    Meaning(
        r"Host key verification failed|host key is known for",
        "the host key of {host} is not in known_hosts ({known_hosts}). Add it (ssh-keyscan shows it; compare it), "
        "name another file as git.known_hosts, or set git.strict_host_key_checking: false",
    ),
    Meaning(
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "the ssh key {ssh_key} can be read by others, so ssh refuses it: chmod 600",
    ),
    Meaning(
        r"Load key .*(Permission denied|invalid format|error in libcrypto|No such file)|"
        r"Identity file .* not accessible",
        "the ssh key {ssh_key} can't be used: it is missing, unreadable, has a passphrase or is no private key",
    ),
    Meaning(r"Permission denied \(", "{host} refused the ssh key ({ssh_key})"),
    Meaning(
        r"Authentication failed|could not read (Username|Password)|terminal prompts disabled|"
        r"invalid credentials|returned error: 40[13]|HTTP Basic: Access denied",
        "{host} refused access. The token is missing, wrong, expired or not allowed to read this repository "
        "(git.token, or the server's)",
    ),
    Meaning(r"couldn't find remote ref|Remote branch .* not found", "{ref} does not exist there"),
    Meaning(
        r"(server )?certificate (problem|verification failed)|SSL certificate",
        "the TLS certificate of {host} is not accepted. For a private CA set git.ca_file",
    ),
    Meaning(
        r"(repository|project).*not found|not found: did you run|does not appear to be a git repository|"
        r"repository .* does not exist|returned error: 404|not a git repository",
        "there is no repository {url}, or no right to see it",
    ),
    Meaning(r"transport '.*' not allowed", "the repository (or one of its submodules) uses a forbidden transport"),
    Meaning(
        r"Could not resolve host|Could not resolve hostname|Name or service not known|Temporary failure in name",
        "the name {host} can't be resolved",
        retryable=True,
    ),
    Meaning(
        r"Connection (refused|timed out|reset|closed)|Failed to connect|Couldn't connect|Network is unreachable|"
        r"No route to host|Operation timed out|early EOF|unexpected disconnect|remote end hung up|"
        r"returned error: (429|5\d\d)|Empty reply",
        "{host} can't be reached, or broke off",
        retryable=True,
    ),
)


def git_error(tail: Sequence[str], *, doing: str, step: str = "clone", **facts: str) -> DeploymentError:
    """An error that says what happened.

    Args:
        tail: Git's last lines, without secrets.
        doing: What was attempted, as in "fetching https://host/repo".
        step: The step of the deploy.
        facts: Fill the messages: `host`, `url`, `ref`, `known_hosts`, `ssh_key`.
    """
    found = explain(_MEANINGS, tail, facts)
    if found is None:
        return DeploymentError(with_tail(f"{doing} failed", tail), step=step)
    text, retryable = found
    return DeploymentError(with_tail(f"{doing}: {text}", tail), step=step, retryable=retryable)
