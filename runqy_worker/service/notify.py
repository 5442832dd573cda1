"""Tells the service manager how the worker is doing, as sd_notify(3) describes it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import sdnotify

from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.domain.events import Listener

_MICRO = 1_000_000
_LONGEST = 2000
"""Bytes of a line: the service manager drops messages of more than 4096, with all that is in them."""


def is_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a service manager wants to be told."""
    return bool(environ.get("NOTIFY_SOCKET"))


class Notifier:
    """Messages to the service manager that `NOTIFY_SOCKET` names.

    Args:
        listener: Hears, once, when the service manager can't be told.
        environ: Where `WATCHDOG_USEC` may be.

    Attributes:
        watchdog: Seconds within which the service manager expects to hear that all is well; 0 when it expects nothing.
    """

    def __init__(self, listener: Listener, environ: Mapping[str, str] = os.environ) -> None:
        self._listener = listener
        self._failed = False
        self._systemd = self._connected()
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        every = environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(every) / _MICRO if ours and every.isdigit() else 0.0

    def ready(self, status: str) -> None:
        """It can run tasks, or a reload is over."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """It makes progress."""
        self._send("WATCHDOG=1")

    def reloading(self, status: str) -> None:
        """A reload has begun; `ready` ends it."""
        stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={stamp}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """It is on its way out."""
        self._send("STOPPING=1", f"STATUS={status}")

    def extend(self, seconds: float) -> None:
        """What it is at (start, reload, stop) may take so much longer from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * _MICRO)}")

    def close(self) -> None:
        """Nothing more will be told."""
        if self._systemd is not None:
            self._systemd.socket.close()
            self._systemd = None

    def _connected(self) -> sdnotify.SystemdNotifier | None:
        try:
            return sdnotify.SystemdNotifier(debug=True)
        except OSError as error:
            self._tell(error)
            return None

    def _send(self, *lines: str) -> None:
        if self._systemd is None:
            return
        text = "\n".join(_short(line.replace("\n", " ")) for line in lines)
        try:
            self._systemd.notify(text.encode().decode("latin-1"))  # that is how it encodes; the manager wants UTF-8
        except OSError as error:
            if not self._failed:
                self._tell(error)
            self._failed = True
        else:
            self._failed = False

    def _tell(self, error: OSError) -> None:
        message = f"the service manager can't be told how the worker is doing: {error}"
        self._listener.notice(Notice("notify_failed", message, Level.WARNING))


def _short(line: str) -> str:
    data = line.encode(errors="replace")
    return line if len(data) <= _LONGEST else data[: _LONGEST - 3].decode(errors="ignore") + "..."
