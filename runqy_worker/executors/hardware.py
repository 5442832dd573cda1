"""What the host offers, as far as it decides how many processes may be loaded at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

SCARCE = 0.10
"""Share of available memory below which memory is short."""
_NVIDIA = Path("/dev/nvidia0")
_HIDDEN = frozenset(("", "-1", "none", "void", "NoDevFiles"))


def cuda_visible(env: Mapping[str, str]) -> bool:
    """Whether a process with this environment may load something onto a GPU."""
    devices = env.get("CUDA_VISIBLE_DEVICES")
    return _NVIDIA.exists() if devices is None else devices not in _HIDDEN


def switch_mode(mode: str, env: Mapping[str, str]) -> str:
    """`auto` settled: two loaded models rarely fit on one GPU, so there the old process ends first."""
    if mode != "auto":
        return mode
    return "stop_first" if cuda_visible(env) else "overlap"


def memory_is_short() -> bool:
    """Whether too little memory is available for a process that only waits."""
    memory = psutil.virtual_memory()
    return bool(memory.available < memory.total * SCARCE)


def usable_cores() -> int:
    """How many processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
