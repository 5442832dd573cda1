"""`recovery.on_degraded: exit`: a worker whose process can't be kept alive ends, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.captured_log import Captured
from support.library_site import Running

from runqy_worker.domain.errors import DegradedError

if TYPE_CHECKING:
    from support.library_site import Library

READY_ONCE = """\
import json, os, sys
if os.path.exists("started"):
    sys.exit(3)
open("started", "w").close()
print(json.dumps({"status": "ready"}), flush=True)
"""
EXIT: dict[str, Any] = {"recovery": {"on_degraded": "exit", "max_restarts": 1, "initial_delay": "10ms"}}


def test_the_program_exits_with_80(library: Library) -> None:
    library.queue("jobs", {"main.py": READY_ONCE})
    worker = library.start(**EXIT)
    assert worker.process.wait(timeout=60) == 80
    assert "runqy-worker: degraded: the process of jobs could not be kept alive" in worker.log_text()


def test_the_library_raises(library: Library) -> None:
    library.queue("jobs", {"main.py": READY_ONCE})
    log = Captured()
    running = Running(library.worker(EXIT, logger=log.logger))
    running.join()
    with pytest.raises(DegradedError, match="jobs"):
        running.stop()
    assert log.actions[-1] == "worker_stopped"
