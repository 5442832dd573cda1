"""The real asynq library, as the program built of tests/interop/go."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class AsynqRefusedError(Exception):
    """What the library answered."""


class Asynq:
    """The library at work on one queue of one Redis."""

    def __init__(self, program: Path, addr: str, queue: str) -> None:
        self._program = program
        self._where = ("--redis", addr, "--queue", queue)
        self._servers: list[subprocess.Popen[str]] = []

    def __call__(self, command: str, *args: str) -> Any:
        """Run one command and return its answer. Raises `AsynqRefusedError` with the library's error."""
        done = subprocess.run(
            [self._program, command, *self._where, *args], capture_output=True, text=True, check=False, timeout=60
        )
        answer = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
        if done.returncode:
            raise AsynqRefusedError(answer["error"])
        return answer

    def serve(self, *args: str) -> subprocess.Popen[str]:
        """Start a real asynq server on the queue; it prints one JSON line per attempt. Killed with the test."""
        server = subprocess.Popen([self._program, "run-server", *self._where, *args], stdout=subprocess.PIPE, text=True)
        self._servers.append(server)
        return server

    def process(self, count: int) -> list[Any]:
        """Let a real asynq server run so many attempts; what it printed about each."""
        out, _ = self.serve("--count", str(count)).communicate(timeout=60)
        return [json.loads(line) for line in out.splitlines()][:-1]

    def stop(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait(timeout=10)
            if server.stdout is not None:
                server.stdout.close()
