"""Counts what is told in notices, for the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.events import Silent

if TYPE_CHECKING:
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Notice
    from runqy_worker.domain.task import Task

COUNTED = (
    "child_restarting",
    "child_recycled",
    "backend_unavailable",
    "backend_refused",
    "heartbeat_failed",
    "deploy_fell_back",
    "start_fell_back",
)
"""Actions whose notices are counted as they are."""
DEPLOYS = {
    "ready": ("start", "succeeded"),
    "bootstrap_failed": ("start", "failed"),
    "reload_finished": ("reload", "succeeded"),
    "reload_failed": ("reload", "failed"),
}
"""What an action says of a deploy: what led to it, and how it ended."""


class EventCounts(Silent):
    """A listener that counts.

    Args:
        clock: Time.

    Attributes:
        times: How often each of `COUNTED` was told.
        deploys: How often each of the values of `DEPLOYS` was told.
        deployed_at: Unix seconds of the last deploy that succeeded; None before the first.
        last_deploy_failed: Whether the last one failed; None before the first.
        lines: Lines that task code printed, by stream.
        lines_left_out: Those of them that were not logged.
        recovered: Tasks taken back from workers that fell silent, by queue.
        lost: Leases that a renewal found lost, by queue.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.times = dict.fromkeys(COUNTED, 0)
        self.deploys = dict.fromkeys(DEPLOYS.values(), 0)
        self.deployed_at: float | None = None
        self.last_deploy_failed: bool | None = None
        self.lines = {"stdout": 0, "stderr": 0}
        self.lines_left_out = 0
        self.recovered: dict[str, int] = {}
        self.lost: dict[str, int] = {}

    def task_output(self, task: Task | None, stream: str, line: str) -> None:  # noqa: ARG002 - the port's signature
        """Count the line."""
        self.lines[stream] += 1

    def notice(self, notice: Notice) -> None:
        """Count it, if it is of those that matter."""
        action = notice.action
        if action in self.times:
            self.times[action] += 1
        elif action in DEPLOYS:
            self._deployed(*DEPLOYS[action])
        elif action == "task_output_left_out":
            left_out = _number(notice, "lines")
            self.lines_left_out += left_out
        elif action == "lease_recovered":
            _add(self.recovered, str(notice.fields.get("queue", "")), _number(notice, "count"))
        elif action == "lease_lost" and notice.task is not None:
            _add(self.lost, notice.task.queue, 1)

    def _deployed(self, trigger: str, outcome: str) -> None:
        self.deploys[trigger, outcome] += 1
        self.last_deploy_failed = outcome == "failed"
        if not self.last_deploy_failed:
            self.deployed_at = self._clock.time()


def _number(notice: Notice, field: str) -> int:
    value = notice.fields.get(field, 0)
    return value if isinstance(value, int) else 0


def _add(counts: dict[str, int], key: str, count: int) -> None:
    counts[key] = counts.get(key, 0) + count
