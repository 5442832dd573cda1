"""Gathers the metrics of a worker when somebody asks for them."""

from __future__ import annotations

import asyncio
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.domain.ports import ExecutorState
from runqy_worker.domain.settlement import Action
from runqy_worker.engine.engine import EngineState
from runqy_worker.telemetry import metric_catalog as catalog
from runqy_worker.telemetry.exposition import Family, render
from runqy_worker.telemetry.processes import disk_space, own_figures, resident
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runqy_worker.app.lane import Lane
    from runqy_worker.app.worker import Worker
    from runqy_worker.service.probes import Probes
    from runqy_worker.telemetry.event_counts import EventCounts
    from runqy_worker.telemetry.exposition import Metric

FRESH = 0.25
"""Seconds for which what was gathered is told again: many who ask at once cost little more than one."""
MIB = 1024 * 1024
_OUTCOMES = {
    "completed": Action.COMPLETE,
    "retried": Action.RETRY,
    "archived": Action.ARCHIVE,
    "revoked": Action.DISCARD,
    "released": Action.RELEASE,
}
_ENGINE_STATES = ("starting", *(state.value for state in EngineState))


class WorkerMetrics:
    """The text that Prometheus reads.

    Args:
        worker: Whose metrics.
        events: What it has told so far.
        probes: What it would answer.
    """

    def __init__(self, worker: Worker, events: EventCounts, probes: Probes) -> None:
        self._worker = worker
        self._events = events
        self._probes = probes
        self._reading = asyncio.Lock()
        self._text = ""
        self._read_at = float("-inf")

    async def read(self) -> str:
        """All of it, at most a quarter of a second old.

        What is counted on the event loop is copied there; the rest, and putting it into words, is a thread's work.
        """
        now = asyncio.get_running_loop().time
        async with self._reading:
            if now() - self._read_at > FRESH:
                families = [
                    *self._state(),
                    *self._tasks(),
                    *self._code(),
                    *self._deploys(),
                    *self._redis(),
                    *self._gpus(),
                ]
                pids = {lane.parent: lane.health().pids for lane in self._worker.lanes}
                self._text = await asyncio.to_thread(self._complete, families, pids)
                self._read_at = now()
            return self._text

    def _complete(self, families: list[Family], pids: dict[str, tuple[int, ...]]) -> str:
        return render([*families, *_children(pids), *_disk(Path(self._worker.config.deployment.dir)), *_daemon()])

    def _per_lane(self, metric: Metric, value: Callable[[Lane], float]) -> Family:
        family = Family(metric)
        for lane in self._worker.lanes:
            family.add(value(lane), lane.parent)
        return family

    def _state(self) -> Iterator[Family]:
        worker = self._worker
        yield Family(catalog.INFO).add(1, __version__, platform.python_version())
        yield Family(catalog.READY).add(self._probes.ready().ok)
        yield Family(catalog.STALLED).add(not self._probes.live().ok)
        able = {standing.parent: standing.able for standing in worker.condition.standings()}
        yield self._per_lane(catalog.PARENT_READY, lambda lane: able[lane.parent])
        yield _one_of(
            catalog.ENGINE_STATE,
            _ENGINE_STATES,
            ((lane.parent, lane.engine.state.value if lane.engine else "starting") for lane in worker.lanes),
        )
        yield self._per_lane(catalog.SLOTS, lambda _: worker.config.worker.concurrency)
        yield self._per_lane(catalog.RUNNING, lambda lane: len(lane.running()))
        yield self._per_lane(catalog.UNSETTLED, lambda lane: lane.engine.unsettled if lane.engine else 0)

    def _tasks(self) -> Iterator[Family]:
        queues = self._worker.counts.queues
        served = dict.fromkeys(name for lane in self._worker.lanes for name in lane.weights) | dict.fromkeys(queues)
        started, tasks, deaths = Family(catalog.STARTED), Family(catalog.TASKS), Family(catalog.DEATHS)
        waits, durations = Family(catalog.WAIT), Family(catalog.DURATION)
        lost, recovered = Family(catalog.LEASES_LOST), Family(catalog.LEASES_RECOVERED)
        for name in served:  # also those without tasks yet: from no value to the first one is no increase
            counts = queues.get(name)
            started.add(counts.started if counts else 0, name)
            for outcome, action in _OUTCOMES.items():
                tasks.add(counts.by_action[action] if counts else 0, name, outcome)
            tasks.add(counts.lost if counts else 0, name, "lost")
            tasks.add(counts.repeated if counts else 0, name, "repeated")
            deaths.add(counts.deaths if counts else 0, name)
            lost.add(self._events.lost.get(name, 0) + (counts.lost if counts else 0), name)
            recovered.add(self._events.recovered.get(name, 0), name)
            if counts:
                waits.add(counts.waits.copy(), name)
                durations.add(counts.durations.copy(), name)
        yield from (started, tasks, waits, durations, deaths, lost, recovered)

    def _code(self) -> Iterator[Family]:
        lanes, events = self._worker.lanes, self._events
        states = tuple(state.value for state in ExecutorState)
        yield _one_of(catalog.EXECUTOR_STATE, states, ((lane.parent, lane.health().state.value) for lane in lanes))
        yield self._per_lane(catalog.CHILDREN, lambda lane: len(lane.health().pids))
        yield self._per_lane(catalog.CRASHES, lambda lane: lane.health().crashes)
        yield self._per_lane(catalog.CONSECUTIVE, lambda lane: lane.health().restarts)
        yield Family(catalog.RESTARTS).add(events.times["child_restarting"])
        yield Family(catalog.RECYCLED).add(events.times["child_recycled"])
        yield _by_label(catalog.LINES, events.lines.items())
        yield Family(catalog.LINES_LEFT_OUT).add(events.lines_left_out)

    def _deploys(self) -> Iterator[Family]:
        events = self._events
        deploys = Family(catalog.DEPLOYS)
        for (trigger, outcome), count in events.deploys.items():
            deploys.add(count, trigger, outcome)
        yield deploys
        if events.last_deploy_failed is not None:
            yield Family(catalog.DEPLOY_OK).add(not events.last_deploy_failed)
        if events.deployed_at is not None:
            yield Family(catalog.DEPLOYED_AT).add(events.deployed_at)
        yield Family(catalog.FALLBACKS).add(events.times["deploy_fell_back"] + events.times["start_fell_back"])
        releases = Family(catalog.RELEASE)
        for lane in self._worker.lanes:
            if lane.release is not None:
                releases.add(1, lane.parent, lane.release.name)
        yield releases

    def _redis(self) -> Iterator[Family]:
        up, trips = Family(catalog.BACKEND_UP), Family(catalog.ROUND_TRIP)
        errors, connects = Family(catalog.REDIS_ERRORS), Family(catalog.REDIS_CONNECTS)
        for lane in self._worker.lanes:
            if lane.engine is not None:
                up.add(not lane.engine.is_cut_off, lane.parent)
            for name, traffic in lane.backend.traffic().items() if lane.backend else ():
                if name != "wait":
                    trips.add(traffic.round_trips.copy(), lane.parent, name)
                errors.add(traffic.failures, lane.parent, name, "connection")
                errors.add(traffic.refusals, lane.parent, name, "refused")
                connects.add(traffic.connects, lane.parent, name)
        yield up
        times = self._events.times
        reasons = {"unreachable": times["backend_unavailable"], "refused": times["backend_refused"]}
        yield _by_label(catalog.OUTAGES, reasons.items())
        yield from (trips, errors, connects)
        arrived = self._worker.beats.last_arrived()
        if arrived is not None:
            yield Family(catalog.BEAT_AT).add(arrived)
        yield Family(catalog.BEAT_OUTAGES).add(times["heartbeat_failed"])

    def _gpus(self) -> Iterator[Family]:
        return gpu_families(self._worker.beats.gpus())


def gpu_families(gpus: Iterable[dict[str, object]]) -> Iterator[Family]:
    """What `telemetry.gpus` read, as metrics."""
    figures = (
        (catalog.GPU_USE, "utilization_percent", 0.01),
        (catalog.GPU_USED, "memory_used_mb", MIB),
        (catalog.GPU_SIZE, "memory_total_mb", MIB),
        (catalog.GPU_HEAT, "temperature_c", 1),
    )
    known = list(gpus)
    for metric, key, unit in figures:
        family = Family(metric)
        for gpu in known:
            value = gpu[key]
            assert isinstance(value, int | float)  # noqa: S101 - as `Gpus.read` makes them
            family.add(round(value * unit, 4), str(gpu["index"]), str(gpu["name"]))
        yield family


def _children(pids: dict[str, tuple[int, ...]]) -> Iterator[Family]:
    family = Family(catalog.CHILD_MEMORY)
    for parent, each in pids.items():
        family.add(resident(each), parent)
    yield family


def _disk(directory: Path) -> Iterator[Family]:
    space = disk_space(directory)
    if space is not None:
        yield Family(catalog.DISK_FREE).add(space[0])
        yield Family(catalog.DISK_SIZE).add(space[1])


def _daemon() -> Iterator[Family]:
    own = own_figures()
    yield Family(catalog.CPU).add(own.cpu)
    yield Family(catalog.RSS).add(own.resident)
    yield Family(catalog.VIRTUAL).add(own.virtual)
    yield Family(catalog.OPEN_FDS).add(own.open_fds)
    yield Family(catalog.MAX_FDS).add(own.max_fds)
    yield Family(catalog.START_TIME).add(own.started_at)


def _by_label(metric: Metric, values: Iterable[tuple[str, float]]) -> Family:
    family = Family(metric)
    for label, value in values:
        family.add(value, label)
    return family


def _one_of(metric: Metric, states: tuple[str, ...], found: Iterable[tuple[str, str]]) -> Family:
    """1 for the state that each is in, 0 for the others."""
    family = Family(metric)
    for label, current in found:
        for state in states:
            family.add(state == current, label, state)
    return family
