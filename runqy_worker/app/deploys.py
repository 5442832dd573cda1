"""Deploys and rollbacks of a running worker: one at a time, each with a result that is kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.domain.errors import ControlError, RunqyError
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from runqy_worker.app.lane import Lane
    from runqy_worker.app.lane_releases import Change
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener


@dataclass(frozen=True, slots=True)
class LaneResult:
    """What a deploy or a rollback did to one lane.

    Attributes:
        parent: Its parent queue.
        change: What changed; None when it failed, or when the lane only now became ready.
        error: Why it failed.
    """

    parent: str
    change: Change | None = None
    error: BaseException | None = None

    def text(self) -> str:
        """One sentence."""
        if self.error is not None:
            return f"{self.parent}: {self.error}"
        change = self.change
        if change is None:
            return f"{self.parent}: became ready"
        if not change.switched:
            return f"{self.parent}: nothing new, {change.release.name} serves already"
        pause = f", no task could start for {change.pause:.1f} s" if change.pause else ""
        return f"{self.parent}: {change.release.name} serves, {change.before} did before{pause}"

    def as_dict(self) -> dict[str, object]:
        """The same, JSON-ready."""
        found: dict[str, object] = {"parent": self.parent, "ok": self.error is None}
        if self.error is not None:
            return found | {"outcome": "failed", "error": str(self.error)}
        if self.change is None:
            return found | {"outcome": "started"}
        change = self.change
        return found | {
            "outcome": "switched" if change.switched else "unchanged",
            "release": change.release.name,
            "commit": change.release.record.commit,
            "before": change.before,
            "pause": round(change.pause, 3),
        }


@dataclass(frozen=True, slots=True)
class DeployResult:
    """What came of one deploy or rollback.

    Attributes:
        kind: `deploy` or `rollback`.
        at: Unix seconds of its end.
        seconds: How long it took.
        lanes: One result each.
    """

    kind: str
    at: float
    seconds: float
    lanes: tuple[LaneResult, ...]

    @property
    def error(self) -> BaseException | None:
        """Why it failed: a fault of this program before anything else, else the first lane's reason."""
        errors = [lane.error for lane in self.lanes if lane.error is not None]
        return next((error for error in errors if not isinstance(error, RunqyError)), errors[0] if errors else None)

    @property
    def message(self) -> str:
        """One sentence per lane; only those that failed, if any did."""
        failed = [lane for lane in self.lanes if lane.error is not None]
        return "; ".join(lane.text() for lane in failed or self.lanes)

    def as_dict(self) -> dict[str, object]:
        """The same, JSON-ready."""
        return {
            "kind": self.kind,
            "ok": self.error is None,
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "message": self.message,
            "lanes": [lane.as_dict() for lane in self.lanes],
        }


class Deploys:
    """Does them.

    A deploy that is asked for while another goes on begins after that, since the newest commit may be newer by then;
    all who ask meanwhile share it.

    Args:
        lanes: All of them.
        listener: Hears that one began, and how it ended.
        clock: Time.
        before: Awaited before each deploy: reads the configuration again.
    """

    def __init__(
        self, lanes: Sequence[Lane], listener: Listener, clock: Clock, before: Callable[[], Awaitable[None]]
    ) -> None:
        self._lanes = lanes
        self._listener = listener
        self._clock = clock
        self._before = before
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[DeployResult] | None = None
        self._force = False
        self._all: set[asyncio.Task[DeployResult]] = set()
        self.last: DeployResult | None = None

    @property
    def ongoing(self) -> bool:
        """Whether one is under way."""
        return self._one_at_a_time.locked()

    def deploy(self, *, force: bool = False) -> asyncio.Task[DeployResult]:
        """Deploy the newest commit of every lane and switch to it. Await the task through `asyncio.shield`.

        Args:
            force: Switch also to what serves already, or was rolled back.
        """
        self._force |= force
        if self._next is None:
            self._next = self._start(self._deploy_next(), "deploy")
        return self._next

    def roll_back(self, parent: str = "") -> asyncio.Task[DeployResult]:
        """Let every lane, or the one of `parent`, go back to the good release before.

        Raises:
            ControlError: There is no such lane.
        """
        lanes = [lane for lane in self._lanes if parent in {"", lane.parent}]
        if not lanes:
            known = ", ".join(lane.parent for lane in self._lanes)
            raise ControlError(f"found {parent!r}, expected a parent queue of this worker: {known}", reason="failed")
        return self._start(self._roll_back(lanes), "rollback")

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._all:
            task.cancel()
        await asyncio.gather(*self._all, return_exceptions=True)

    def _start(self, work: Coroutine[None, None, DeployResult], name: str) -> asyncio.Task[DeployResult]:
        task = asyncio.create_task(work, name=name)
        self._all.add(task)
        task.add_done_callback(self._all.discard)
        return task

    async def _deploy_next(self) -> DeployResult:
        async with self._one_at_a_time:
            force, self._force, self._next = self._force, False, None
            self._tell("reload_started", "deploying the newest commit")
            began = self._clock.monotonic()
            try:
                await self._before()
            except RunqyError as error:
                results: list[Change | BaseException | None] = [error] * len(self._lanes)
            else:
                reloads = (lane.reload(force=force) for lane in self._lanes)
                results = await asyncio.gather(*reloads, return_exceptions=True)
            return self._ended("deploy", self._lanes, results, began)

    async def _roll_back(self, lanes: Sequence[Lane]) -> DeployResult:
        async with self._one_at_a_time:
            self._tell("reload_started", "going back to the release before")
            began = self._clock.monotonic()
            results = await asyncio.gather(*(lane.roll_back() for lane in lanes), return_exceptions=True)
            return self._ended("rollback", lanes, list(results), began)

    def _ended(
        self, kind: str, lanes: Sequence[Lane], results: list[Change | BaseException | None], began: float
    ) -> DeployResult:
        outcomes = tuple(
            LaneResult(lane.parent, error=result)
            if isinstance(result, BaseException)
            else LaneResult(lane.parent, change=result)
            for lane, result in zip(lanes, results, strict=True)
        )
        result = DeployResult(kind, self._clock.time(), self._clock.monotonic() - began, outcomes)
        self.last = result
        what = "reload" if kind == "deploy" else "rollback"
        for lane, outcome in zip(lanes, outcomes, strict=True):
            if outcome.error is not None:
                serving = f"{what} failed, the old release goes on serving" if lane.ready else f"{what} failed"
                message = f"{lane.parent}: {serving}: {outcome.error}"
                self._tell("reload_failed", message, Level.ERROR, {"parent": lane.parent})
        if result.error is None:
            self._tell("reload_finished", result.message, fields={"seconds": round(result.seconds, 3)})
        return result

    def _tell(
        self, action: str, message: str, level: Level = Level.INFO, fields: dict[str, object] | None = None
    ) -> None:
        self._listener.notice(Notice(action, message, level, fields=fields or {}))
