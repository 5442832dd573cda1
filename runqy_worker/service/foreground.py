"""What a daemon tells the command that started it, until it is ready or has failed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from typing import TYPE_CHECKING

from runqy_worker.domain.events import Silent
from runqy_worker.telemetry.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.events import Notice

_CHUNK = 65536
NEWS = frozenset(("ready", "executor_degraded"))
"""What may make a worker ready."""
TOLD = frozenset(
    ("registration_failed", "registration_waiting", "bootstrap_failed", "deploy_fell_back", "start_fell_back")
)
"""What whoever waits wants to know."""
_NOT_READY = 75
"""The exit code for "try again later"."""


class Foreground(Silent):
    """The daemon's end of the pipe.

    Args:
        descriptor: Where it writes; closed once there is no more to say.
        is_ready: Whether the worker can run tasks.
    """

    def __init__(self, descriptor: int, is_ready: Callable[[], bool] | None = None) -> None:
        self._descriptor = descriptor
        self.is_ready = is_ready

    def notice(self, notice: Notice) -> None:
        """Pass on what the one who waits wants to know."""
        if notice.action in TOLD:
            self._send({"say": notice.message})
        if notice.action in NEWS and self.is_ready is not None and self.is_ready():
            self.end(0)

    def end(self, code: int, message: str = "") -> None:
        """The command may end, with this exit code."""
        self._send({"code": code, "say": message})
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _send(self, document: dict[str, object]) -> None:
        if self._descriptor < 0:
            return
        with contextlib.suppress(BrokenPipeError):  # nobody waits any more
            os.write(self._descriptor, json.dumps(document).encode() + b"\n")


def wait(descriptor: int, limit: float, say: Callable[[str], None]) -> int:
    """Wait for the daemon at the other end, and return the exit code that it gave.

    Args:
        descriptor: Where to read.
        limit: Seconds to wait; the daemon goes on after that.
        say: Told every message.
    """
    deadline = time.monotonic() + limit
    rest = b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            say(f"the worker is not ready after {limit:g} s; it goes on trying")
            return _NOT_READY
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            say("the worker ended before it was ready; its log tells why")
            return _NOT_READY
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            document = json.loads(line)
            if document["say"]:
                say("\n".join(map(one_line, document["say"].splitlines())))
            if "code" in document:
                return int(document["code"])
