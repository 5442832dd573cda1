"""Fixtures for tests with real task processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
from integration.executors.stage import Mark, Stage, is_ours

from runqy_worker.domain.ports import ExecutorState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Makes executors; after the test they are stopped, and nothing of them may be left."""
    stage = Stage(tmp_path)
    yield stage
    for executor in stage.executors:
        await executor.stop(0.2)
        assert executor.health().state is ExecutorState.STOPPED
        assert executor.health().pids == ()
    assert [child for child in psutil.Process().children(recursive=True) if is_ours(child, tmp_path)] == []
    assert list((tmp_path / "state").glob("*")) == []


@pytest.fixture
def flag(stage: Stage) -> Mark:
    """A file that processes may wait for."""
    return stage.mark("flag")


@pytest.fixture
def log(stage: Stage) -> Mark:
    """A file that processes append to."""
    return stage.mark("log")
