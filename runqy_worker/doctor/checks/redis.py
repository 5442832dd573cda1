"""Whether the Redis that the server names can be used, and is set up to keep tasks."""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runqy_worker.app.redis_access import redis_options
from runqy_worker.backends.asynq.connecting import BROKEN, open_wire
from runqy_worker.backends.asynq.errors import Refusal, translate
from runqy_worker.backends.asynq.options import is_socket_path, split_addr
from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.doctor.finding import Finding, note, ok, problem, warning
from runqy_worker.domain.errors import BackendAuthError, BackendError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.deployment.answer import RedisAnswer
    from runqy_worker.doctor.subject import Subject

OLDEST = (6, 2)
APART = 2.0
"""Seconds between the two clocks that are worth a warning."""
_FULL = 0.9
_SECTIONS = ("server", "memory", "persistence", "replication")


async def look(subject: Subject) -> list[Finding]:
    """Each distinct Redis once."""
    registered = await subject.registered()
    local = subject.config.redis
    answers: list[RedisAnswer | None] = [each.redis for each in registered]
    try:
        options = list(dict.fromkeys(redis_options(local, answer) for answer in answers or [None]))
    except ConfigError:
        return [note("not looked at, since the server did not say where it is")]
    found = []
    for each in options:
        remote = "" if local.addr or local.sentinel_addrs else _remote_server(subject)
        found += await _one(each, remote)
    return found


async def _one(options: RedisOptions, remote: str) -> list[Finding]:
    """What one Redis is like; `remote` is the server that named it, if that is on another host."""
    misled = bool(remote) and _is_loopback(options.addr)
    told = f"the server {remote} says that Redis is at {options.addr}, which means this host, here"
    elsewhere = "set redis.addr to where Redis is from here, or REDIS_HOST on the server"
    unknown = await _unknown_host(options)
    if unknown:
        return [unknown]
    try:
        wire = await open_wire(options, "doctor")
    except (*BROKEN, BackendError) as error:
        if misled:
            return [problem(told, elsewhere)]
        return [_refused(error, options)]
    try:
        before = time.time()
        moment, *infos = await wire.exchange((("TIME",), *(("INFO", each) for each in _SECTIONS)), options.timeout)
        after = time.time()
    except BROKEN as error:
        return [_refused(error, options)]
    finally:
        wire.abort()
    facts = {key: value for info in infos if not isinstance(info, Refusal) for key, value in _facts(info)}
    found = [warning(f"{told}; something does answer there", elsewhere)] if misled else []
    if not isinstance(moment, Refusal):
        found += _clock(int(moment[0]) + int(moment[1]) / 1e6, before, after)
    found += [*_version(facts), *_memory(facts), *_keeping(facts), *_role(facts)]
    where = f"{wire.where} answers, version {facts.get('redis_version', 'not told')}"
    return [ok(where), *found]


def _refused(error: Exception, options: RedisOptions) -> Finding:
    named = error if isinstance(error, BackendError) else translate(error, options.addr or options.sentinel_master)
    if isinstance(named, BackendAuthError):
        return problem(str(named), "mend the password or the user: on the server, or in redis.password_file")
    return problem(str(named), "start Redis, mend its address, or look for a firewall or a TLS setting between")


async def _unknown_host(options: RedisOptions) -> Finding | None:
    """Looked up here, in a thread that nobody waits for, since a resolver may hang."""
    if options.sentinel_addrs or is_socket_path(options.addr):
        return None
    try:
        host, port = split_addr(options.addr)
        await in_daemon_thread(lambda: socket.getaddrinfo(host, port), name="look up redis")
    except (OSError, ValueError) as error:
        return problem(f"redis at {options.addr} has no address: {error}", "mend redis.addr, or this host's DNS")
    return None


def _remote_server(subject: Subject) -> str:
    host = urlsplit(subject.config.server.url).hostname or ""
    return "" if subject.config.local.queues_file or _is_loopback(host) else host


def _is_loopback(addr: str) -> bool:
    if is_socket_path(addr):
        return True
    try:
        host = split_addr(addr)[0]
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _facts(info: bytes) -> Iterator[tuple[str, str]]:
    for line in info.decode(errors="replace").splitlines():
        key, separator, value = line.partition(":")
        if separator:
            yield key, value


def _clock(theirs: float, before: float, after: float) -> Iterator[Finding]:
    apart = theirs - (before + after) / 2
    if abs(apart) - (after - before) > APART:
        which = "ahead of" if apart > 0 else "behind"
        text = f"Redis' clock is {abs(apart):.1f} s {which} this host's"
        yield warning(text, "synchronise both; deadlines are judged by whichever is behind")


def _version(facts: Mapping[str, str]) -> Iterator[Finding]:
    numbers = tuple(int(each) for each in facts.get("redis_version", "").split(".")[:2] if each.isdigit())
    if numbers and numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield problem(f"it is version {facts['redis_version']}, expected {oldest} or newer", "upgrade Redis")


def _memory(facts: Mapping[str, str]) -> Iterator[Finding]:
    policy = facts.get("maxmemory_policy", "")
    if policy.startswith("allkeys-"):
        text = f"its maxmemory-policy is {policy}: when it is full it deletes tasks"
        yield problem(text, "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf")
    limit, used = int(facts.get("maxmemory", 0)), int(facts.get("used_memory", 0))
    if limit and used >= limit:
        text = f"its memory is full: {used >> 20} of {limit >> 20} MiB; nothing can be enqueued"
        yield problem(text, "raise maxmemory, or keep fewer finished tasks (lifecycle.ttl_completed)")
    elif limit and used >= limit * _FULL:
        text = f"its memory is nearly full: {used >> 20} of {limit >> 20} MiB"
        yield warning(text, "raise maxmemory, or keep fewer finished tasks (lifecycle.ttl_completed)")


def _keeping(facts: Mapping[str, str]) -> Iterator[Finding]:
    if facts.get("loading") == "1":
        yield warning("it is still loading its data", "wait")
    appends = facts.get("aof_enabled") == "1"
    if appends and facts.get("aof_last_write_status", "ok") != "ok":
        yield problem("its last write to the append-only file failed", "look into Redis' log; its disk may be full")
    if not appends and facts.get("rdb_last_bgsave_status", "ok") != "ok":
        yield problem("its last snapshot failed", "look into Redis' log; its disk may be full")
    never = int(facts.get("rdb_last_save_time", 0)) <= _started(facts)
    if "aof_enabled" in facts and not appends and never:
        text = "it has no append-only file and saved no snapshot since it started: a restart loses all tasks"
        yield warning(text, "redis-cli CONFIG SET appendonly yes, and the same in redis.conf")


def _started(facts: Mapping[str, str]) -> float:
    """Unix seconds, a little late: `rdb_last_save_time` is set to the start itself."""
    return int(facts.get("server_time_usec", 0)) / 1e6 - int(facts.get("uptime_in_seconds", 0)) + 1


def _role(facts: Mapping[str, str]) -> Iterator[Finding]:
    if facts.get("role") == "slave":
        yield problem("it is a replica, which takes no writes", "mend redis.addr, or set redis.sentinel_addrs")
