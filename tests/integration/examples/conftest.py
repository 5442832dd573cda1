"""Runs an example as the worker would: a subprocess, one JSON object a line."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).parents[3] / "examples"
PATIENCE = 20.0


class Child:
    """A running example."""

    def __init__(self, name: str, python: str = sys.executable, **env: str) -> None:
        self.process = subprocess.Popen(
            [python, "main.py"],
            cwd=EXAMPLES / name,
            env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self.log: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._lines.put)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.log.append)),
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, keep: Callable[[str], object]) -> None:
        for line in stream:
            keep(line.rstrip("\n"))

    def next(self) -> Any:
        """The next object that it prints."""
        return json.loads(self._lines.get(timeout=PATIENCE))

    def send(self, task_id: str, payload: object, **more: object) -> None:
        """Hand it a task."""
        assert self.process.stdin is not None
        task = {"task_id": task_id, "type": "example", "payload": payload, "retry_count": 0, "max_retry": 3, **more}
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()

    def close_stdin(self) -> int:
        """Say that no more tasks come; returns its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return code

    def end(self) -> None:
        """Make sure that it is gone."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    """Starts an example: `start(name, python=..., VARIABLE=...)`; ended with the test."""
    children: list[Child] = []

    def starter(name: str, **settings: str) -> Child:
        children.append(Child(name, **settings))
        return children[-1]

    yield starter
    for child in children:
        child.end()
