"""GPU figures through NVIDIA's management library, where it is there."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from runqy_worker.domain.events import Level, Notice, Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.events import Listener

MIB = 1024 * 1024


class Gpus:
    """Reads the GPUs of this host. Whether that is possible is found out once, at the first reading.

    Args:
        listener: Hears, once and for debugging only, why there are no figures.
    """

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener or Silent()
        self._library: Any = None
        self._tried = False

    def read(self) -> list[dict[str, object]]:
        """One entry per GPU; empty where there is none, or no library, or it fails."""
        if not self._tried:
            self._tried = True
            self._library = self._load()
        if self._library is None:
            return []
        nvml = self._library
        try:
            return [self._one(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError as error:  # a GPU that fell off the bus fails every call until the next start
            self._give_up(f"the GPUs can't be read any more: {error}")
            return []

    def close(self) -> None:
        """Let go of the library."""
        nvml, self._library = self._library, None
        if nvml is not None:
            nvml.nvmlShutdown()

    def _load(self) -> Any:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            self._give_up("no GPU figures: nvidia-ml-py is not installed")
            return None
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            self._give_up(f"no GPU figures: {error}")
            return None
        return nvml

    def _give_up(self, message: str) -> None:
        self._library = None
        self._listener.notice(Notice("gpu_figures_unavailable", message, Level.DEBUG))

    @staticmethod
    def _one(nvml: Any, index: int) -> dict[str, object]:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = nvml.nvmlDeviceGetName(handle)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)

        def or_zero(ask: Callable[[], Any]) -> Any:
            try:
                return ask()
            except nvml.NVMLError_NotSupported:  # a partition (MIG) has no utilization, some boards no sensor
                return 0

        return {
            "index": index,
            "name": name.decode(errors="replace") if isinstance(name, bytes) else name,
            "utilization_percent": float(or_zero(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
            "memory_used_mb": int(memory.used) // MIB,
            "memory_total_mb": int(memory.total) // MIB,
            "temperature_c": int(
                or_zero(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            ),
        }
