"""How the worker is doing, in the few words that a service manager and its operators want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.domain.events import Silent
from runqy_worker.domain.ports import ExecutorState
from runqy_worker.engine.engine import EngineState
from runqy_worker.service.probes import Standing
from runqy_worker.service.pulse import Phase
from runqy_worker.telemetry.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.app.lane import Lane
    from runqy_worker.config.model import Config
    from runqy_worker.domain.events import Notice
    from runqy_worker.telemetry.counts import Counts, Totals

STANDSTILL = 40.0
"""Seconds, beside what Redis may take for its answers, after which a claim loop that has not turned stands still."""
ANSWERS = 2
"""Answers of Redis, with a new connection each, that one turn of it may wait for."""
TROUBLES = frozenset({"registration_failed", "registration_waiting", "bootstrap_failed"})
"""Notices of what keeps a worker from getting ready."""
_SHORT = 7
_SHORT_WAIT = 1.0


class WorkerCondition(Silent):
    """See `service.pulse.Condition` and `service.probes.Probed`.

    Listens, too: while the worker is not ready, its status says what went wrong last.

    Args:
        lanes: All of them.
        counts: What was done.
        config: Concurrency, and how long Redis may take.
    """

    def __init__(self, lanes: Sequence[Lane], counts: Counts, config: Config) -> None:
        self._lanes = lanes
        self._counts = counts
        self._slots = config.worker.concurrency
        self._trouble = ""
        self._standstill = STANDSTILL + ANSWERS * (config.redis.connect_timeout + config.redis.timeout)

    def notice(self, notice: Notice) -> None:
        """Remember why it is not ready yet."""
        if notice.action in TROUBLES:
            self._trouble = one_line(notice.message)

    def phase(self) -> Phase:
        """Where it is in its life."""
        if all(lane.stopping for lane in self._lanes):
            return Phase.STOPPING
        return Phase.SERVING if all(lane.ready for lane in self._lanes) else Phase.STARTING

    def is_ready(self) -> bool:
        """Whether every parent queue is ready or degraded, and at least one ready."""
        return all(lane.ready for lane in self._lanes) and not all(lane.degraded.is_set() for lane in self._lanes)

    def standings(self) -> list[Standing]:
        """How each parent queue stands."""
        return [_standing(lane) for lane in self._lanes]

    def status(self) -> str:
        """`inference: running 3/4, 1,204 done, 2 failed, 0.8 ms wait, release 3f2c1ab`."""
        done = _done(self._counts.totals())
        trouble = [self._trouble] if self._trouble and not all(lane.ready for lane in self._lanes) else []
        if len(self._lanes) == 1:
            (lane,) = self._lanes
            parts = [", ".join([f"{lane.parent}: {self._doing(lane)}", *done, *_release(lane)])]
        else:
            parts = [", ".join([f"{lane.parent}: {self._doing(lane)}", *_release(lane)]) for lane in self._lanes]
            parts.append(", ".join(done))
        return "; ".join([*parts, *trouble])

    def stall(self) -> str:
        """What makes no progress although it should; empty when all is well."""
        for lane in self._lanes:
            silence = lane.engine.silence() if lane.engine else 0.0
            if silence > self._standstill:
                return f"the claim loop of {lane.parent} has stood still for {silence:.0f} s"
            fault = lane.health().fault
            if fault:
                return f"the process of {lane.parent} is not supervised: {fault}"
        return ""

    def work_is_quiet_for(self) -> float:
        """Seconds since a deploy last showed a sign of progress; infinite when there is no deploy under way."""
        return min(lane.work_is_quiet_for() for lane in self._lanes)

    def _doing(self, lane: Lane) -> str:
        running = f"{len(lane.running())}/{self._slots}"
        engine = lane.engine
        if engine is None:
            return "starting"
        state = lane.health().state
        if engine.state is EngineState.RUNNING and state is not ExecutorState.READY:
            return f"{state.value} {running}"
        away = ", its backend does not answer" if engine.is_cut_off else ""
        return f"{engine.state.value} {running}{away}"


def _standing(lane: Lane) -> Standing:
    engine = lane.engine
    if engine is None:
        return Standing(lane.parent, "stopping" if lane.stopping else "starting", able=False, begun=False)
    state = lane.health().state
    if engine.state is not EngineState.RUNNING:
        doing = engine.state.value
    elif state is not ExecutorState.READY:
        doing = state.value
    elif engine.is_cut_off:
        doing = "the backend does not answer"
    else:
        return Standing(lane.parent, engine.state.value, able=True, begun=True)
    return Standing(lane.parent, doing, able=False, begun=True)


def _done(totals: Totals) -> list[str]:
    parts = [f"{totals.completed:,} done", f"{totals.retried + totals.archived:,} failed"]
    wait = totals.wait
    if wait is not None:
        parts.append(f"{wait * 1000:.1f} ms wait" if wait < _SHORT_WAIT else f"{wait:.1f} s wait")
    return parts


def _release(lane: Lane) -> list[str]:
    return [f"release {lane.release.name[:_SHORT]}"] if lane.release else []
