"""Programs that a test needs and a newcomer's machine may lack: said clearly, and a failure under CI=true."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test for want of a tool; fail it under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def needed(tool: str, how: str) -> str:
    """The path of `tool`, on PATH or beside this Python; `how` tells how to get it."""
    found = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
    return found or missing(f"{tool} is missing: {how}")
