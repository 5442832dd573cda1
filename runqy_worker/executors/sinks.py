"""A sink for the time before an engine listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.task import Task


class NoSink:
    """Nobody hands over tasks yet, so there is nothing to report."""

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Nothing was handed over."""

    def state_changed(self) -> None:
        """Nobody wants to know."""
