"""Loads what is needed only once the deploy is done, while the deploy's commands run: that time is free."""

from __future__ import annotations

import asyncio
import importlib

HEAD_START = 0.01
"""Seconds that the deploy gets to start its commands."""
_LATER = (
    "psutil",
    "msgspec",
    "runqy_worker.backends.asynq.registry",
    "runqy_worker.telemetry.heartbeat",
    "runqy_worker.executors.long_running",
    "runqy_worker.executors.one_shot",
    "runqy_worker.backends.asynq.backend",
    "runqy_worker.app.parts",
    "runqy_worker.app.metrics",
)


async def load_later_modules() -> None:
    """Import them, with a turn of the event loop between one and the next."""
    await asyncio.sleep(HEAD_START)
    for name in _LATER:
        importlib.import_module(name)
        await asyncio.sleep(0)
