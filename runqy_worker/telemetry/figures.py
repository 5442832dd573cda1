"""How busy the host is: processors, memory, GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from runqy_worker.domain.clock import SystemClock
from runqy_worker.telemetry.gpus import Gpus

if TYPE_CHECKING:
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener


class Figures:
    """Reads the host's figures. Made once; the load is the average since the reading before.

    Attributes:
        gpus: What was last read of the GPUs.
    """

    def __init__(self, listener: Listener | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._gpus = Gpus(listener)
        self.gpus: list[dict[str, object]] = []
        psutil.cpu_percent()  # the first call only remembers where to count from

    def read(self) -> dict[str, object]:
        """`cpu_percent`, `memory_used_bytes`, `memory_total_bytes`, `gpus` (a list), `collected_at` (Unix seconds).

        Takes about a millisecond without GPUs; with them a driver is asked, so call it in a thread.
        """
        memory = psutil.virtual_memory()
        self.gpus = self._gpus.read()
        return {
            "cpu_percent": psutil.cpu_percent(),
            "memory_used_bytes": memory.used,
            "memory_total_bytes": memory.total,
            "gpus": self.gpus,
            "collected_at": int(self._clock.time()),
        }

    def close(self) -> None:
        """Let go of the GPU library."""
        self._gpus.close()
