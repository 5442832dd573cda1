"""Opening one connection to the Redis that is to be used now, found through Sentinel where that is configured."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from hiredis import HiredisError

from runqy_worker.backends.asynq.errors import Refusal, code_of
from runqy_worker.backends.asynq.options import DEFAULT_SENTINEL_PORT, is_socket_path, split_addr
from runqy_worker.backends.asynq.wire import Wire
from runqy_worker.domain.errors import BackendUnavailableError

if TYPE_CHECKING:
    from runqy_worker.backends.asynq.options import RedisOptions

BROKEN = (OSError, TimeoutError, HiredisError, Refusal)
"""What opening or using a wire may raise."""


async def open_wire(options: RedisOptions, name: str) -> Wire:
    """Connect, authenticate, select the database, and name the connection `runqy-worker:<name>`.

    Raises:
        TimeoutError: It took longer than `connect_timeout`.
        OSError: The network refused, or a file for TLS can't be read.
        Refusal: Redis refused.
        BackendUnavailableError: No Sentinel names a master, or what it names is none.
    """
    async with asyncio.timeout(options.connect_timeout):
        addr = await _find_master(options) if options.sentinel_addrs else options.addr
        wire = await _connect(options, addr)
        try:
            await _enter(wire, options.username, options.password, options.connect_timeout)
            if options.db:
                await _demand(wire, ("SELECT", options.db), options.connect_timeout)
            # Our user may not call these, or the server not know them.
            about = (("CLIENT", "SETNAME", f"runqy-worker:{name}"), ("CLIENT", "ID"))
            replies = await wire.exchange(about, options.connect_timeout)
            _check_welcome(replies)
            wire.client_id = replies[1] if isinstance(replies[1], int) else 0
            if options.sentinel_addrs:
                await _check_role(wire, options.connect_timeout)
        except BaseException:
            wire.abort()
            raise
        return wire


def _check_welcome(replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Refusal) and code_of(reply) == "NOAUTH":
            raise reply


async def _check_role(wire: Wire, limit: float) -> None:
    role = (await wire.exchange((("ROLE",),), limit))[0]
    if not isinstance(role, Refusal) and role[0] != b"master":
        raise BackendUnavailableError(f"redis at {wire.where} is not the master (yet)")


async def _enter(wire: Wire, username: str, password: str, limit: float) -> None:
    if username:
        await _demand(wire, ("AUTH", username, password), limit)
    elif password:
        await _demand(wire, ("AUTH", password), limit)


async def _demand(wire: Wire, command: tuple[str | int, ...], limit: float) -> Any:
    reply = (await wire.exchange((command,), limit))[0]
    if isinstance(reply, Refusal):
        raise reply
    return reply


async def _find_master(options: RedisOptions) -> str:
    problems = []
    for addr in options.sentinel_addrs:
        share = options.connect_timeout / (len(options.sentinel_addrs) + 1)
        try:
            async with asyncio.timeout(share):
                found = await _ask_sentinel(options, addr, share)
        except BROKEN as error:
            problems.append(f"{addr}: {str(error) or 'no answer in time'}")
            continue
        if found:
            return found
        problems.append(f"{addr}: knows no master {options.sentinel_master!r}")
    raise BackendUnavailableError(f"no Sentinel names the master: {'; '.join(problems)}")


async def open_sentinel(options: RedisOptions, addr: str, limit: float) -> Wire:
    """Connect to one Sentinel, and authenticate, each step within `limit` seconds. Raises what `BROKEN` lists."""
    async with asyncio.timeout(limit):
        wire = await _connect(options, addr)
    try:
        await _enter(wire, options.sentinel_username, options.sentinel_password, limit)
    except BaseException:
        wire.abort()
        raise
    return wire


async def _ask_sentinel(options: RedisOptions, addr: str, limit: float) -> str:
    wire = await open_sentinel(options, addr, limit)
    try:
        found = await _demand(wire, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", options.sentinel_master), limit)
    finally:
        wire.abort()
    if not found:
        return ""
    return join_addr(*found)


def join_addr(host: bytes, port: bytes) -> str:
    """host:port of the two, as a Sentinel tells them."""
    name = host.decode()
    return f"[{name}]:{port.decode()}" if ":" in name else f"{name}:{port.decode()}"


async def _connect(options: RedisOptions, addr: str) -> Wire:
    loop = asyncio.get_running_loop()
    if is_socket_path(addr):
        return (await loop.create_unix_connection(lambda: Wire(addr), addr))[1]
    is_sentinel = addr in options.sentinel_addrs
    try:
        host, port = split_addr(addr, DEFAULT_SENTINEL_PORT) if is_sentinel else split_addr(addr)
    except ValueError as error:
        raise BackendUnavailableError(str(error)) from None
    context = _tls(options) if options.tls else None
    return (await loop.create_connection(lambda: Wire(addr), host, port, ssl=context))[1]


def _tls(options: RedisOptions) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=options.ca_file or None)
    if options.cert_file:
        context.load_cert_chain(options.cert_file, options.key_file or None)
    return context
