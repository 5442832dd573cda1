"""Reads what `runqy-worker doctor --json` printed."""

from __future__ import annotations

import json
from typing import Any


def problems_of(text: str) -> list[dict[str, Any]]:
    """What it found to be wrong, with `check`, `found` and `advice`; empty where the text is of something else."""
    try:
        examined = json.loads(text)["examined"]
    except (ValueError, KeyError, TypeError):
        return []
    return [finding for each in examined for finding in each["findings"] if finding["level"] == "problem"]
