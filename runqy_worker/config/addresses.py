"""Whether a text is a network address of the right form. Nothing is looked up."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%a-z]+\]|[^\s\[\]:/@]+):(?P<port>[0-9]{1,5})\Z", re.ASCII)
_LAST_PORT = 65535
_UNIX = "unix:"


def is_host_port(text: str) -> bool:
    """Whether it is `host:port`, the host a name, an IPv4 address, or an IPv6 one in brackets."""
    found = _HOST_PORT.match(text)
    return found is not None and 0 < int(found["port"]) <= _LAST_PORT


def is_socket_path(text: str) -> bool:
    """Whether it is an absolute path."""
    return text.startswith("/")


def listen_address(text: str) -> str | tuple[str, int] | None:
    """Where `unix:PATH` or `HOST:PORT` says to listen: an absolute path, or host and port; None when it is neither.

    The host of an IPv6 address is given without its brackets. Port 0 means any that is free.
    """
    if text.startswith(_UNIX):
        path = text.removeprefix(_UNIX)
        return path if is_socket_path(path) and "\0" not in path else None
    found = _HOST_PORT.match(text)
    if found is None or int(found["port"]) > _LAST_PORT:
        return None
    return found["host"].strip("[]"), int(found["port"])


def split_url(text: str, *schemes: str) -> SplitResult | None:
    """The parts of a URL with one of the schemes and a host; None when it is no such URL."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in schemes or not parts.hostname or port == 0 or re.search(r"\s", text):
        return None
    return parts
