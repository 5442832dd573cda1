"""A Redis master with a replica, and the Sentinels that watch them."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Self

import redis

from support.redis_server import RedisServer, free_port, redis_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MASTER = "mymaster"
TASK_KEY = re.compile(rb"^asynq:\{[^}]*\}:t:(.+)$", re.DOTALL)


class Sentinels:
    """Two servers and the Sentinels that watch them as `mymaster`; started on entry, ended on exit.

    Args:
        directory: Where everything is kept.
        count: How many Sentinels there are.
        quorum: How many of them must find the master gone.
        down_after: Seconds of silence after which they do.
        args: For both servers.
    """

    def __init__(self, directory: Path, *args: str, count: int = 1, quorum: int = 1, down_after: float = 1.0) -> None:
        self.directory = directory
        keep = ("--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0")
        own = (*keep, "--repl-backlog-size", "64mb", *args)
        self.nodes = [RedisServer(directory / name, *own) for name in ("one", "two")]
        self.ports = [free_port() for _ in range(count)]
        self._quorum = quorum
        self._down_after = down_after
        self._open = ExitStack()

    @property
    def addrs(self) -> tuple[str, ...]:
        """host:port of the Sentinels."""
        return tuple(f"127.0.0.1:{port}" for port in self.ports)

    def __enter__(self) -> Self:
        with self._open:
            master, replica = self.nodes
            self._open.enter_context(master)
            self._open.enter_context(replica)
            self.attach(replica, master)
            for number, port in enumerate(self.ports):
                self._start_sentinel(number, port, master)
            wait_until(self.is_settled, "the Sentinels knowing everyone")
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._open.close()

    def master(self) -> RedisServer:
        """Who is the master now, as the first Sentinel says."""
        with talk(self.ports[0]) as client:
            _host, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(node for node in self.nodes if node.port == int(port))

    def other(self, node: RedisServer) -> RedisServer:
        """The one of the two that is not this one."""
        return self.nodes[1 - self.nodes.index(node)]

    def fail_over(self) -> None:
        """An orderly failover, as an operator asks for it."""
        with talk(self.ports[0]) as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)

    def wait_for_master(self, node: RedisServer, *, seconds: float = 60) -> None:
        """Until every Sentinel names this one, and it takes writes."""

        def named() -> bool:
            for port in self.ports:
                with talk(port) as client:
                    found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                if int(found[1]) != node.port:
                    return False
            return role_of(node) == "master"

        wait_until(named, f"{node.addr} being the master", seconds=seconds)

    def attach(self, replica: RedisServer, master: RedisServer) -> None:
        """Make one the other's replica, and wait until it holds the same."""
        with talk(replica.port) as client:
            client.replicaof("127.0.0.1", master.port)
            wait_until(lambda: client.info("replication").get("master_link_status") == "up", "the replica in step")

    def is_settled(self) -> bool:
        """Whether every Sentinel knows the others, and the replica as one that is in step."""
        try:
            for port in self.ports:
                with talk(port) as client:
                    replicas = str(client.execute_command("SENTINEL", "REPLICAS", MASTER))
                    [state] = [client.sentinel_master(MASTER)]
                    if len(re.findall(r"master-link-status\W+ok", replicas)) != 1 or "s_down" in replicas:
                        return False
                    if state["num-other-sentinels"] != len(self.ports) - 1 or state["is_master_down"]:
                        return False
        except redis.RedisError:
            return False
        return True

    def _start_sentinel(self, number: int, port: int, master: RedisServer) -> None:
        conf = self.directory / f"sentinel-{number}.conf"
        conf.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self.directory}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} {self._quorum}\n"
            f"sentinel down-after-milliseconds {MASTER} {int(self._down_after * 1000)}\n"
            f"sentinel failover-timeout {MASTER} 5000\n"
        )
        log = self._open.enter_context((self.directory / f"sentinel-{number}.log").open("wb"))
        process = subprocess.Popen([redis_binary(), str(conf), "--sentinel"], stdout=log, stderr=log)
        self._open.callback(process.wait, 10)
        self._open.callback(process.terminate)


class Strays:
    """What a master wrote that the one promoted in its place never got, read from its replication backlog.

    It reads on as long as the old master takes writes; `catch_up`, and `stop` when it takes no more.

    Args:
        old: Still up, with its backlog.
        new: The promoted one.
    """

    def __init__(self, old: RedisServer, new: RedisServer) -> None:
        with talk(new.port) as client:
            about = client.info("replication")
        self._socket = socket.create_connection(("127.0.0.1", old.port), timeout=10)
        self._old = old
        self._read_up_to = int(about["second_repl_offset"]) - 1
        self._stream = self._socket.makefile("rb")
        self._socket.sendall(f"PSYNC {about['master_replid2']} {about['second_repl_offset']}\r\n".encode())
        answer = self._stream.readline()
        if not answer.startswith(b"+CONTINUE"):
            self._stream.close()
            self._socket.close()
            raise RuntimeError(f"the old master's backlog does not reach back: {answer!r}")
        self.commands: list[list[bytes]] = []
        self._taken = 0
        self._socket.settimeout(None)
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def catch_up(self) -> None:
        """Wait for all that the old master has written until now."""
        with talk(self._old.port) as client:
            offset = client.info("replication")["master_repl_offset"]
        wait_until(lambda: self._read_up_to >= offset, f"reading up to {offset}")

    def stop(self) -> None:
        """Read no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reading.join(10)
        self._stream.close()
        self._socket.close()

    def writes(self) -> dict[str, list[dict[str, str]]]:
        """The fields that were set in tasks' hashes, by the task's id, in order."""
        found: dict[str, list[dict[str, str]]] = {}
        for command in self.commands:
            if len(command) > 3 and command[0].upper() in (b"HSET", b"HMSET") and (key := TASK_KEY.match(command[1])):
                names = (name.decode() for name in command[2::2])
                values = (value.decode(errors="replace") for value in command[3::2])
                found.setdefault(key.group(1).decode(), []).append(dict(zip(names, values, strict=True)))
        return found

    def _read(self) -> None:
        try:
            while head := self._line():
                if head.startswith(b"*"):
                    self.commands.append([self._argument() for _ in range(int(head[1:]))])
                self._read_up_to += self._taken
                self._taken = 0
        except (OSError, ValueError):
            return  # it ended in the middle of a command, which nobody executed either

    def _line(self) -> bytes:
        line = self._stream.readline()
        self._taken += len(line)
        return line

    def _argument(self) -> bytes:
        length = int(self._line()[1:])
        raw = self._stream.read(length + 2)
        self._taken += len(raw)
        if len(raw) != length + 2:
            raise ValueError("the stream ended")
        return raw[:length]


@contextmanager
def talk(port: int) -> Iterator[Any]:
    """A client of this server, closed at the end. Typed loosely, as redis-py's own types say little of replies."""
    with closing(redis.Redis(port=port, decode_responses=True, socket_timeout=5)) as client:
        yield client


def wait_for_role(node: RedisServer, role: str, *, seconds: float = 60) -> None:
    """Until it is a `master` or a `slave`."""
    wait_until(lambda: role_of(node) == role, f"{node.addr} being a {role}", seconds=seconds)


def role_of(node: RedisServer) -> str:
    """`master` or `slave`; empty when it does not answer."""
    try:
        with talk(node.port) as client:
            return str(client.execute_command("ROLE")[0])
    except redis.RedisError:
        return ""


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 60) -> None:
    """Until it holds. Raises AssertionError when that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.05)
