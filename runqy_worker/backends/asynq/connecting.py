"""Opening one connection to the Redis that is to be used now, found through Sentinel where that is configured."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from runqy_worker.backends.asynq.options import DEFAULT_SENTINEL_PORT, is_socket_path, split_addr
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from runqy_worker.backends.asynq.options import RedisOptions


class Opened:
    """A connection that stands.

    Attributes:
        connection: redis-py's, without retries, health checks or timeouts of its own.
        where: The server's address.
        client_id: What CLIENT UNBLOCK knows it by; 0 when Redis would not say.
    """

    __slots__ = ("client_id", "connection", "where")

    def __init__(self, connection: AbstractConnection, where: str, client_id: int) -> None:
        self.connection = connection
        self.where = where
        self.client_id = client_id


async def open_connection(options: RedisOptions, name: str) -> Opened:
    """Connect, authenticate, select the database, and name the connection `runqy-worker:<name>`.

    Raises:
        TimeoutError: It took longer than `connect_timeout`.
        OSError: The network refused.
        RedisError: Redis refused.
        BackendUnavailableError: No Sentinel names a master, or what it names is none.
    """
    async with asyncio.timeout(options.connect_timeout):
        addr = await _find_master(options) if options.sentinel_addrs else options.addr
        connection = _make(options, addr, options.username, options.password, options.db)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it bare
            await _optional(connection, "CLIENT", "SETNAME", f"runqy-worker:{name}")
            client_id = await _optional(connection, "CLIENT", "ID")
            if options.sentinel_addrs:
                _check_role(await _optional(connection, "ROLE"), addr)
        except BaseException:
            await discard(connection)
            raise
        return Opened(connection, addr, client_id or 0)


async def discard(connection: AbstractConnection) -> None:
    """Close without waiting for the other side."""
    with contextlib.suppress(OSError, RedisError, asyncio.TimeoutError):
        await connection.disconnect(nowait=True)


async def _optional(connection: AbstractConnection, *command: str) -> Any:
    """The reply, or None when our user may not call this or the server does not know it."""
    await connection.send_command(*command, check_health=False)
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError:
        return None


def _check_role(role: Any, addr: str) -> None:
    if role is not None and role[0] != b"master":
        raise BackendUnavailableError(f"redis at {addr} is not the master (yet)")


async def _find_master(options: RedisOptions) -> str:
    problems = []
    for addr in options.sentinel_addrs:
        share = options.connect_timeout / (len(options.sentinel_addrs) + 1)
        try:
            async with asyncio.timeout(share):
                found = await _ask_sentinel(options, addr)
        except (TimeoutError, OSError, RedisError) as error:
            problems.append(f"{addr}: {str(error) or 'no answer in time'}")
            continue
        if found:
            return found
        problems.append(f"{addr}: knows no master {options.sentinel_master!r}")
    raise BackendUnavailableError(f"no Sentinel names the master: {'; '.join(problems)}")


async def _ask_sentinel(options: RedisOptions, addr: str) -> str:
    connection = _make(options, addr, options.sentinel_username, options.sentinel_password, 0)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it bare
        await connection.send_command(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.sentinel_master, check_health=False
        )
        found = await connection.read_response(disable_decoding=True)
    finally:
        await discard(connection)
    if not found:
        return ""
    host, port = (part.decode() for part in found)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _make(options: RedisOptions, addr: str, username: str, password: str, db: int) -> AbstractConnection:
    common: dict[str, Any] = {
        "db": db,
        "username": username or None,
        "password": password or None,
        "protocol": 2,
        "socket_timeout": None,  # each exchange is timed as a whole by its caller
        "socket_connect_timeout": options.connect_timeout,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "socket_read_size": 65536,
    }
    if is_socket_path(addr):
        return UnixDomainSocketConnection(path=addr, **common)
    is_sentinel = addr in options.sentinel_addrs
    try:
        host, port = split_addr(addr, DEFAULT_SENTINEL_PORT) if is_sentinel else split_addr(addr)
    except ValueError as error:
        raise RedisConnectionError(str(error)) from None
    if not options.tls:
        return Connection(host=host, port=port, **common)
    return SSLConnection(
        host=host,
        port=port,
        ssl_ca_certs=options.ca_file or None,
        ssl_certfile=options.cert_file or None,
        ssl_keyfile=options.key_file or None,
        ssl_cert_reqs="required",
        ssl_check_hostname=True,
        **common,
    )
