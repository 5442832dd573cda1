"""What a run came to, as figures that can be quoted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaos.state_machine.lease_field import Field

REPORTS = "RUNQY_CHAOS_REPORTS"


def report(counts: Mapping[str, int | float]) -> None:
    """Write the figures as `state_machine.json` into the directory that REPORTS names, if it is set."""
    directory = os.environ.get(REPORTS)
    if directory:
        path = Path(directory) / "state_machine.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(counts), indent=1) + "\n")


def figures_of(field: Field, hours: float) -> dict[str, int | float]:
    """Everything that was counted in a run of so many hours of the clock in there."""
    model = field.model
    counts: dict[str, int | float] = {
        "virtual hours": round(hours, 3),
        "tasks lost": 0,  # a run that lost one would have ended with a violation
        "injuries": sum(count for name, count in model.events.items() if name.startswith(("injury", "replies lost"))),
    }
    counts |= sorted(model.events.items())
    counts |= {f"claimed again: {reason}": count for reason, count in sorted(model.again.items())}
    counts |= {f"gone: {reason}": count for reason, count in sorted(model.gone.items())}
    return counts
