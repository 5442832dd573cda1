"""The one place that decides what an outcome means: complete, retry, archive, discard or release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.outcome import Completed, Failed, Outcome, Released
from runqy_worker.domain.settlement import Action, Settlement

if TYPE_CHECKING:
    import random

    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.task import Task


class RetryDelay(Protocol):
    """Says how long a failed task waits before it runs again."""

    def __call__(self, retried: int, error: str, task: Task) -> float:
        """Seconds to wait after a failure; `retried` is the number of failures before this one."""


def asynq_retry_delay(rng: random.Random) -> RetryDelay:
    """The delay of asynq: n^4 + 15 + rand(0..29) * (n + 1) seconds, n being the failures before this one."""

    def delay(retried: int, error: str, task: Task) -> float:  # noqa: ARG001 - the protocol's names
        return retried**4 + 15 + rng.randrange(30) * (retried + 1)

    return delay


class Verdicts:
    """Turns outcomes into settlements.

    Args:
        retry_delay: How long a failed task waits.
        max_deaths: Process deaths charged to one task after which it is archived, whatever retries are left.
        max_reruns: Involuntary re-runs of one task after which a further one counts as its failure. Where not its
            process but its worker came to an end, a further one is charged as a death: a task that takes its whole
            worker down could go on for ever otherwise.
        clock: For `retry_at`, deadlines and waiting times.
    """

    def __init__(self, *, retry_delay: RetryDelay, max_deaths: int, max_reruns: int, clock: Clock) -> None:
        self._retry_delay = retry_delay
        self._max_deaths = max_deaths
        self._max_reruns = max_reruns
        self._clock = clock

    def settle(self, task: Task, outcome: Outcome, *, draining: bool = False) -> Settlement:
        """What to write about `task`. While draining, no interruption is held against a task."""
        if isinstance(outcome, Completed):
            return Settlement(task, Action.COMPLETE, outcome.result)
        if isinstance(outcome, Failed):
            return self._failed(task, outcome)
        if isinstance(outcome, Released):
            return self._released(task, outcome, draining=draining)
        return Settlement(task, Action.DISCARD)

    def before_start(self, task: Task) -> Settlement | None:
        """Settle at once what must not run now: past its deadline, waited too long, too many deaths or re-runs."""
        if not (task.deadline or task.pending_timeout or task.deaths or task.reruns):
            return None
        now = self._clock.time()
        if task.deadline and now >= task.deadline:
            return Settlement(task, Action.ARCHIVE, error="deadline passed before the task could run")
        if task.pending_timeout and task.pending_since and now - task.pending_since > task.pending_timeout:
            waited = now - task.pending_since
            error = f"pending timeout: waited {waited:.0f}s, allowed {task.pending_timeout:.0f}s"
            return Settlement(task, Action.ARCHIVE, error=error)
        if task.deaths >= self._max_deaths:
            return Settlement(task, Action.ARCHIVE, error=f"poison: {task.deaths} process deaths charged to this task")
        if task.reruns >= (self._max_reruns + 1) * (task.deaths + 1):
            return self._failed(
                task, Failed(f"interrupted {task.reruns} times, also by the end of workers", death=True)
            )
        return None

    def _failed(self, task: Task, outcome: Failed) -> Settlement:
        error = outcome.error
        if outcome.death and task.deaths + 1 >= self._max_deaths:
            error = f"poison: {task.deaths + 1} process deaths charged to this task; the last: {error}"
            return Settlement(task, Action.ARCHIVE, error=error, death=True)
        if not outcome.retryable or task.retried >= task.max_retry:
            return Settlement(task, Action.ARCHIVE, error=error, death=outcome.death)
        retry_at = self._clock.time() + max(0.0, self._retry_delay(task.retried, error, task))
        return Settlement(task, Action.RETRY, error=error, retry_at=retry_at, death=outcome.death)

    def _released(self, task: Task, outcome: Released, *, draining: bool) -> Settlement:
        if not outcome.begun or draining:
            return Settlement(task, Action.RELEASE, error=outcome.reason)
        if task.reruns >= self._max_reruns:
            error = f"interrupted {task.reruns + 1} times through no fault of its own; the last: {outcome.reason}"
            return self._failed(task, Failed(error))
        return Settlement(task, Action.RELEASE, error=outcome.reason, rerun=True)
