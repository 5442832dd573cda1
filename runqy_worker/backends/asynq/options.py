"""Where Redis is and how to get in."""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Everything that a connection needs.

    Attributes:
        addr: `host:port`, or the path of a unix socket. Not used when `sentinel_addrs` is set.
        sentinel_master: Name of the master that the Sentinels watch.
        sentinel_addrs: `host:port` of the Sentinels; they are asked for the master at every connect.
        connect_timeout: Seconds until a connection must stand, authentication included.
        timeout: Seconds that one reply may take before the connection is given up.
    """

    addr: str = f"127.0.0.1:{DEFAULT_PORT}"
    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sentinel_master: str = ""
    sentinel_addrs: tuple[str, ...] = ()
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    connect_timeout: float = 5.0
    timeout: float = 10.0


def is_socket_path(addr: str) -> bool:
    """Whether the address is the path of a unix socket."""
    return "/" in addr


def split_addr(addr: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Host and port of `host`, `host:port`, `[v6]:port` or a bare IPv6 address. Raises ValueError."""
    text = addr.strip()
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and int(port) < 65536)):  # noqa: PLR2004 - ports are 16 bits
        raise ValueError(f"redis address {addr!r}: expected host:port")
    return host, int(port) if port else default_port
