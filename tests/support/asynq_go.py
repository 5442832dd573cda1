"""The real asynq library, as the program built of tests/interop/go."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from support.tools import missing, needed

SOURCE = Path(__file__).parents[1] / "interop" / "go"


def build(program: Path, *flags: str) -> Path:
    """Compile the program; Go's own cache makes a second build quick."""
    go = needed("go", "it builds the real asynq library")
    done = subprocess.run(
        [go, "build", *flags, "-o", program, "."], cwd=SOURCE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return program


def build_skewed(program: Path) -> Path:
    """The same program with a wall clock that is off by the seconds that the file WALL_OFFSET_FILE holds.

    Go programs ask the kernel for the time, so no library can come between. Its own standard library is compiled with
    one more addition instead; asynq is as it is, and so is the monotonic clock.
    """
    go = needed("go", "it builds the real asynq library")
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    original = Path(root) / "src" / "time" / "time.go"
    text = original.read_text().replace("import (\n", 'import (\n\t"sync/atomic"\n', 1)
    text, found = re.subn(
        r"(func Now\(\) Time \{\n\tsec, nsec, mono := \w+\(\)\n)", r"\1\tsec += WallOffset.Load()\n", text
    )
    if found != 1:
        missing(f"time.Now of this Go ({original}) is not as expected; its wall clock can't be moved")
    changed = program.with_name("time.go.txt")
    changed.write_text(text + "\n// WallOffset is added to what Now says, in seconds.\nvar WallOffset atomic.Int64\n")
    overlay = program.with_name("overlay.json")
    overlay.write_text(json.dumps({"Replace": {str(original): str(changed)}}))
    return build(program, "-overlay", str(overlay), "-tags", "skewed")


class AsynqRefusedError(Exception):
    """What the library answered."""


class Asynq:
    """The library at work on one queue of one Redis."""

    def __init__(self, program: Path, addr: str, queue: str) -> None:
        self.program = program
        self.where = ("--redis", addr, "--queue", queue)
        self._servers: list[subprocess.Popen[str]] = []

    def __call__(self, command: str, *args: str) -> Any:
        """Run one command and return its answer. Raises `AsynqRefusedError` with the library's error."""
        done = subprocess.run(
            [self.program, command, *self.where, *args], capture_output=True, text=True, check=False, timeout=60
        )
        answer = json.loads(done.stdout) if done.stdout else {"error": done.stderr}
        if done.returncode:
            raise AsynqRefusedError(answer["error"])
        return answer

    def serve(self, *args: str) -> subprocess.Popen[str]:
        """Start a real asynq server on the queue; it prints one JSON line per attempt. Killed with the test."""
        server = subprocess.Popen([self.program, "run-server", *self.where, *args], stdout=subprocess.PIPE, text=True)
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
