"""A clock that moves when told, and a log that is captured."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import pytest
from support.captured_log import Captured
from support.fakes import FakeClock

from runqy_worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def captured() -> Captured:
    return Captured()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def restored_logging() -> Iterator[io.StringIO]:
    """A stream to log to; the loggers are put back afterwards."""
    logger, root = logging.getLogger("runqy_worker"), logging.getLogger()
    before = (logger.handlers[:], logger.level, logger.propagate, root.handlers[:])
    yield io.StringIO()
    logs._setups.clear()
    logger.handlers[:], logger.propagate, root.handlers[:] = before[0], before[2], before[3]
    logger.setLevel(before[1])
