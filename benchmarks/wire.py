"""A plain connection to Redis: sends bytes that were packed before, and sleeps in the kernel until a reply comes."""

from __future__ import annotations

import socket
from typing import Any, Self

import hiredis

_pack: Any = hiredis.pack_command
Word = str | bytes | int | float


def packed(*commands: tuple[Word, ...]) -> bytes:
    """The commands as they go over the wire, in one piece."""
    return b"".join(_pack(command) for command in commands)


class Wire:
    """One connection. A wait costs no CPU, so that measuring takes none from what is measured.

    Args:
        addr: host:port.
        patience: Seconds that a reply may take; `TimeoutError` is raised after that.
    """

    def __init__(self, addr: str, *, patience: float = 30.0) -> None:
        host, port = addr.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(patience)
        self._reader: Any = hiredis.Reader()

    def send(self, data: bytes) -> None:
        """Write what `packed` gave."""
        self._socket.sendall(data)

    def receive(self) -> Any:
        """The next reply or message."""
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("Redis closed the connection")
            self._reader.feed(data)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def call(self, *command: Word) -> Any:
        """Send one command and return its reply."""
        self.send(packed(command))
        return self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()
