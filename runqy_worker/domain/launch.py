"""What to start: a deployed release turned into a command line. Made by the deployment, used by the executors."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Mode(Enum):
    """How the task code runs."""

    LONG_RUNNING = "long_running"
    ONE_SHOT = "one_shot"


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one process of the task code.

    Attributes:
        argv: The command; `argv[0]` is an absolute path or found on the PATH in `env`.
        cwd: Where it starts.
        env: Its whole environment; nothing is inherited beside it.
        mode: Long-running or one-shot.
        startup_timeout: Seconds until it must have printed that it is ready.
        release: Short name of the deployed release, for logs and status.
        store_result: Whether results are written to the backend (`redis_storage`).
        secrets: Values that must not show in logs (vault entries).
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    mode: Mode = Mode.LONG_RUNNING
    startup_timeout: float = 300
    release: str = ""
    store_result: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)
