"""What the host offers decides how many processes are loaded at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from runqy_worker.executors import hardware

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("env", "device", "visible"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, False, True),
        ({"CUDA_VISIBLE_DEVICES": ""}, True, False),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, True, False),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f2c"}, False, True),
    ],
)
def test_gpu_is_visible_by_setting_or_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, env: dict[str, str], device: bool, visible: bool
) -> None:
    monkeypatch.setattr(hardware, "_NVIDIA", tmp_path if device else tmp_path / "none")
    assert hardware.cuda_visible(env) is visible
    assert hardware.switch_mode("auto", env) == ("stop_first" if visible else "overlap")
    assert hardware.switch_mode("overlap", env) == "overlap"


@pytest.mark.parametrize(("available", "short"), [(5, True), (10, False), (90, False)])
def test_memory_is_short_below_a_tenth(monkeypatch: pytest.MonkeyPatch, available: int, short: bool) -> None:
    figures = SimpleNamespace(total=100, available=available)
    monkeypatch.setattr("psutil.virtual_memory", lambda: figures)
    assert hardware.memory_is_short() is short
