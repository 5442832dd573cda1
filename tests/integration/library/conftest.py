"""A worker in this process: its installation, and a look at whether it left anything behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from support.library_site import Library

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.redis_server import RedisServer


@pytest.fixture
def library(tmp_path: Path, redis_server: RedisServer) -> Iterator[Library]:
    """Where workers run; whatever was started is ended."""
    library = Library(tmp_path, redis_server)
    yield library
    library.close()


@pytest.fixture(autouse=True)
def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No handler, thread, process or unfinished asyncio task outlives a worker."""
    loggers = (logging.getLogger(), logging.getLogger("runqy_worker"))
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    threads = set(threading.enumerate())
    processes = set(psutil.Process().children(recursive=True))  # other tests may have started some
    yield
    gc.collect()  # what was dropped unclosed warns, and warnings are errors
    assert [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers] == before
    assert [thread for thread in threading.enumerate() if thread not in threads] == []
    children = [child.cmdline() for child in psutil.Process().children(recursive=True) if child not in processes]
    assert [command for command in children if "redis-server" not in command[0]] == []
    destroyed = [record.getMessage() for record in caplog.records if record.name == asyncio.__name__]
    assert destroyed == []
