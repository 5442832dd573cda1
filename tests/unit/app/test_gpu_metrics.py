"""What was read of the GPUs, in base units."""

from __future__ import annotations

from support.http_probe import Metrics

from runqy_worker.app.metrics import gpu_families
from runqy_worker.telemetry.exposition import render
from runqy_worker.telemetry.metric_catalog import SECTIONS

GPU = {
    "index": 1,
    "name": "NVIDIA H100",
    "utilization_percent": 37.0,
    "memory_used_mb": 2048,
    "memory_total_mb": 81559,
    "temperature_c": 41,
}


def test_figures_are_told_in_base_units() -> None:
    metrics = Metrics(render(gpu_families([GPU])))
    labels = {"gpu": "1", "name": "NVIDIA H100"}
    assert metrics.value("runqy_worker_gpu_utilization_ratio", **labels) == 0.37
    assert metrics.value("runqy_worker_gpu_memory_used_bytes", **labels) == 2 * 1024**3
    assert metrics.value("runqy_worker_gpu_temperature_celsius", **labels) == 41
    assert metrics.names() == {metric.name for metric in SECTIONS["GPUs"]}


def test_a_host_without_gpus_tells_nothing_of_them() -> None:
    assert render(gpu_families([])) == ""
