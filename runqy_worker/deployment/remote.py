"""The address of a repository, taken apart: what may be shown and stored, and what is secret."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from runqy_worker.domain.errors import DeploymentError

_SCP = re.compile(r"(?P<user>[^/@:\s]+@)?(?P<host>\[[^\]]+\]|[^/:\s]+):(?P<path>(?!//).+)\Z")
_KEY_LENGTH = 16


class Transport(Enum):
    """How git reaches the repository."""

    HTTP = "http"
    SSH = "ssh"
    GIT = "git"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository's address.

    Attributes:
        url: Without credentials: fit for logs, argv and `.git/config`.
        transport: How git reaches it.
        origin: `scheme://host[:port]`, to which credentials are bound; empty unless HTTP.
        host: The host's name; empty for local ones.
        username: User name that stood in an http address.
        password: Password or token that stood there.
    """

    url: str
    transport: Transport
    origin: str = ""
    host: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """A short stable name for directories."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:_KEY_LENGTH]


def parse_remote(git_url: str) -> Remote:
    """Take an address apart.

    Raises:
        DeploymentError: It is no address that git may be trusted with: empty, an option, or a transport that runs
            commands.
    """
    text = git_url.strip()
    if not text or text.startswith("-") or any(ord(character) < 32 for character in text):  # noqa: PLR2004 - control characters
        raise _bad("deployment.git_url is empty, starts with '-' or contains control characters")
    if "::" in text.split("/", maxsplit=1)[0]:
        raise _bad("deployment.git_url uses a transport helper (`name::`), which may run any command")
    if "://" in text and not text.startswith("file:") and any(character.isspace() for character in text):
        raise _bad("deployment.git_url contains white space")
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in {"http", "https"}:
        return _http(text)
    if scheme in {"ssh", "git+ssh", "ssh+git"}:
        return _ssh(text)
    if scheme == "git":
        return Remote(text, Transport.GIT, host=urlsplit(text).hostname or "")
    if scheme == "file":
        return Remote(text, Transport.LOCAL)
    if scheme:
        raise _bad(f"deployment.git_url has the scheme {scheme!r}, expected https, ssh, file or a path")
    scp = _SCP.match(text)
    if scp is not None and not Path(text).exists():
        return Remote(text, Transport.SSH, host=scp["host"])
    return Remote(str(Path(text).absolute()), Transport.LOCAL)


def _http(text: str) -> Remote:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _bad("deployment.git_url is not a valid address") from None
    if not parts.hostname:
        raise _bad("deployment.git_url names no host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return Remote(
        url=urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")),
        transport=Transport.HTTP,
        origin=f"{parts.scheme}://{netloc}",
        host=parts.hostname,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _ssh(text: str) -> Remote:
    parts = urlsplit(text)
    if parts.password:
        raise _bad("deployment.git_url carries a password for ssh, which git can't use: set git.ssh_key")
    return Remote(text, Transport.SSH, host=parts.hostname or "")


def _bad(message: str) -> DeploymentError:
    return DeploymentError(message, step="clone", retryable=False)
