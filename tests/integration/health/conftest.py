"""A temporary installation for each test, and a way to ask its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.http_probe import Answer, ask
from support.worker_site import Site, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.redis_server import RedisServer

GATED = """\
import json, os, sys, time
while not os.path.exists("@gate"):
    time.sleep(0.01)
print(json.dumps({"status": "ready"}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    while task["payload"] and not os.path.exists(task["payload"]):
        time.sleep(0.01)
    print(json.dumps({"task_id": task["task_id"], "result": 1}), flush=True)
"""
"""Task code that is ready once there is a file `@gate`; a task ends once the file is there that its payload names."""


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    """Where workers run; whatever was started is ended."""
    site = Site(tmp_path, redis_server)
    yield site
    site.close()


@pytest.fixture
def asks() -> Callable[..., Answer]:
    """`asks(worker, path, **headers)`: at the address that the worker's log tells."""

    def asks(worker: WorkerProcess, path: str, **headers: str) -> Answer:
        address = worker.wait_for_line("health_listening")["fields"]["address"]
        return ask(address, path, **headers)

    return asks
