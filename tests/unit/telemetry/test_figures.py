"""Figures of the host, with and without GPUs."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

import pytest
from support.fakes import Recorder

from runqy_worker.telemetry.figures import Figures

if TYPE_CHECKING:
    from support.fakes import FakeClock

MIB = 1024 * 1024


class FakeNvml(types.ModuleType):
    """Two boards as NVIDIA's library shows them; the second is a partition without a utilization counter."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818 - the library's own name
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.calls: list[str] = []
        self.broken: str = ""

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.broken:
            raise self.NVMLError("GPU is lost")

    def nvmlInit(self) -> None:  # noqa: N802 - likewise, and below
        self._called("init")

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._called("shutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._called("count")
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:  # noqa: N802
        return "Accelerator One" if handle == 0 else b"Accelerator Two"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> types.SimpleNamespace:  # noqa: N802
        return types.SimpleNamespace(used=(handle + 1) * 512 * MIB, total=8192 * MIB)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> types.SimpleNamespace:  # noqa: N802
        if handle == 1:
            raise self.NVMLError_NotSupported
        return types.SimpleNamespace(gpu=37, memory=12)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:  # noqa: N802
        return 60 + handle


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def test_the_shape_is_what_the_server_shows(nvml: FakeNvml, clock: FakeClock) -> None:
    figures = Figures(clock=clock).read()
    assert figures.pop("gpus") == [
        {
            "index": 0,
            "name": "Accelerator One",
            "utilization_percent": 37.0,
            "memory_used_mb": 512,
            "memory_total_mb": 8192,
            "temperature_c": 60,
        },
        {
            "index": 1,
            "name": "Accelerator Two",
            "utilization_percent": 0.0,
            "memory_used_mb": 1024,
            "memory_total_mb": 8192,
            "temperature_c": 61,
        },
    ]
    assert figures.pop("collected_at") == int(clock.now)
    cpu, used, total = figures["cpu_percent"], figures["memory_used_bytes"], figures["memory_total_bytes"]
    assert isinstance(cpu, float)
    assert isinstance(used, int)
    assert isinstance(total, int)
    assert 0 <= cpu <= 100
    assert 0 < used < total
    assert len(figures) == 3


def test_without_the_library_there_are_no_gpus_and_it_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    recorder = Recorder()
    figures = Figures(recorder)
    assert [figures.read()["gpus"], figures.read()["gpus"]] == [[], []]
    assert recorder.actions() == ["gpu_figures_unavailable"]


def test_without_a_driver_it_is_found_out_once(nvml: FakeNvml) -> None:
    nvml.broken = "init"
    recorder = Recorder()
    figures = Figures(recorder)
    assert [figures.read()["gpus"], figures.read()["gpus"]] == [[], []]
    assert nvml.calls == ["init"]
    assert "GPU is lost" in recorder.notices[0].message


def test_a_gpu_that_is_lost_later_ends_the_reading(nvml: FakeNvml) -> None:
    recorder = Recorder()
    figures = Figures(recorder)
    assert len(str(figures.read()["gpus"])) > 2
    nvml.broken = "count"
    assert [figures.read()["gpus"], figures.read()["gpus"]] == [[], []]
    assert nvml.calls.count("count") == 2
    assert recorder.actions() == ["gpu_figures_unavailable"]


def test_closing_lets_go_of_the_library(nvml: FakeNvml) -> None:
    figures = Figures()
    figures.read()
    figures.close()
    figures.close()
    assert nvml.calls.count("shutdown") == 1
