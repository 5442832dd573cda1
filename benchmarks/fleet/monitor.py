"""Counts which script or command comes from which kind of connection, by looking at MONITOR for a while."""

from __future__ import annotations

import codecs
import re
import socket
import time
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.scripts import load

if TYPE_CHECKING:
    from collections.abc import Container

    import redis

    from benchmarks.fleet.server import FleetRedis

_LINE = re.compile(rb'\+\d+\.\d+ \[\d+ (\S+)\] "([^"]*)"(?: "([^"]*)")?')


def script_names() -> dict[str, str]:
    """Digest -> name of every script of the backend."""
    folder = resources.files("runqy_worker.backends.asynq").joinpath("lua")
    names = [entry.name.removesuffix(".lua") for entry in folder.iterdir() if entry.name.endswith(".lua")]
    return {load(name).sha: name for name in names}


_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"')


def words(line: bytes) -> list[bytes]:
    """The words of a command as MONITOR shows it."""
    return [bytes(codecs.escape_decode(word)[0]) for word in _WORD.findall(line)]


def first_upkeep(server: FleetRedis, known: Container[str], limit: float) -> tuple[str, list[bytes]] | None:
    """The next request for upkeep whose name is not `known`: its name and its words; None when none comes."""
    scripts = script_names()
    with server.client() as client:
        upkeep = {str(entry["addr"]).encode() for entry in client.client_list() if "upkeep" in str(entry["name"])}
    deadline = time.monotonic() + limit
    with socket.create_connection(("127.0.0.1", server.port)) as connection, connection.makefile("rb") as lines:
        connection.settimeout(limit)
        connection.sendall(b"MONITOR\r\n")
        while time.monotonic() < deadline:
            try:
                line = lines.readline()
            except TimeoutError:
                return None
            found = _LINE.match(line)
            if found is None or found[1] not in upkeep:
                continue
            command = words(line)
            name = scripts.get(command[1].decode(), "") if command[0].upper() == b"EVALSHA" else command[0].decode()
            if name not in known:
                return name, command
    return None


def requests(client: redis.Redis, host: str, port: int, seconds: float) -> dict[str, float]:
    """Requests per second, `<connection> <script or command>` -> rate, most frequent first.

    What scripts do inside is left out. MONITOR itself costs Redis much, so measure nothing else meanwhile.
    """
    names = _names(client)
    scripts = script_names()
    counts: Counter[tuple[str, str]] = Counter()
    with socket.create_connection((host, port)) as connection:
        connection.sendall(b"MONITOR\r\n")
        connection.settimeout(1.0)
        rest = b""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                rest += connection.recv(1 << 18)
            except TimeoutError:
                continue
            *lines, rest = rest.split(b"\r\n")
            for line in lines:
                found = _LINE.match(line)
                if found is None or found[1] == b"lua":
                    continue
                command = found[2].decode(errors="replace").upper()
                if command == "EVALSHA" and found[3] is not None:
                    command = scripts.get(found[3].decode(), "script")
                counts[found[1].decode(), command] += 1
        elapsed = time.monotonic() - began
    names |= _names(client)  # those that connected meanwhile
    total: Counter[str] = Counter()
    for (address, command), count in counts.items():
        kind = names.get(address, "").removeprefix("runqy-worker:").partition("-")[0]
        total[f"{kind or 'other'} {command}"] += count
    return {name: round(count / elapsed, 2) for name, count in total.most_common()}


def _names(client: redis.Redis) -> dict[str, str]:
    """The address of each connection -> its name."""
    return {str(entry["addr"]): str(entry["name"]) for entry in client.client_list()}
