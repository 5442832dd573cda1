"""Everything about a running worker that is worth asking for, JSON-ready."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from runqy_worker.service.control_protocol import NEWEST, OLDEST

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.app.lane import Lane
    from runqy_worker.app.worker import Worker
    from runqy_worker.deployment.releases import ReleaseDir
    from runqy_worker.domain.task import Task
    from runqy_worker.service.build import BuildInfo
    from runqy_worker.service.installed import InstalledFiles


class WatchedFiles:
    """Files that were read, and when they had changed last.

    Attributes:
        seen: Path -> time of its last change, in nanoseconds; None for one that is not there.
    """

    def __init__(self) -> None:
        self.seen: dict[Path, int | None] = {}

    def read(self, *paths: Path) -> None:
        """They are read about now."""
        self.seen = {path: _changed_at(path) for path in paths}

    def changed(self) -> list[str]:
        """Those that changed since."""
        return [str(path) for path, seen in self.seen.items() if _changed_at(path) != seen]


class WorkerState:
    """Describes a worker.

    Args:
        worker: The worker.
        instance: Name of its instance; empty when it has none.
        build: Which program runs.
        installed: Which files it runs from.
        files: What its configuration was read from.
    """

    def __init__(
        self, worker: Worker, *, instance: str, build: BuildInfo, installed: InstalledFiles, files: WatchedFiles
    ) -> None:
        self._worker = worker
        self._instance = instance
        self._build = build
        self._installed = installed
        self._files = files
        self._started_at = time.time()
        self._began = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        worker = self._worker
        last = worker.deploys.last
        return {
            "protocol": {"oldest": OLDEST, "newest": NEWEST},
            "program": self._build.as_dict(),
            "instance": self._instance,
            "worker_id": worker.worker_id,
            "pid": os.getpid(),
            "started_at": round(self._started_at, 3),
            "uptime": round(time.monotonic() - self._began, 1),
            "phase": worker.condition.phase().value,
            "ready": worker.condition.is_ready(),
            "quiet": worker.is_quiet,
            "summary": worker.condition.status(),
            "stall": worker.condition.stall(),
            "lanes": [_lane(lane, worker.config.worker.concurrency) for lane in worker.lanes],
            "totals": worker.counts.totals().as_dict(),
            "deploy": {"ongoing": worker.deploys.ongoing, "last": last.as_dict() if last else None},
            "restart_needed": self._restart_needed(),
            "reload_needed": [f"{path} changed since it was read" for path in self._files.changed()],
        }

    def _restart_needed(self) -> list[str]:
        reasons = [reason] if (reason := self._installed.change()) else []
        keys = self._worker.needs_restart
        if keys:
            reasons.append(f"changed settings that can't be taken over while it works: {', '.join(keys)}")
        return reasons


def release_facts(release: ReleaseDir, *, in_use: bool) -> dict[str, Any]:
    """A deployed release."""
    record = release.record
    return {
        "id": release.name,
        "commit": record.commit,
        "ref": record.ref,
        "url": record.url,
        "made_at": round(record.made_at, 3),
        "confirmed_at": round(record.confirmed_at, 3),
        "good": record.ok,
        "rolled_back": record.rolled_back,
        "in_use": in_use,
    }


def _lane(lane: Lane, concurrency: int) -> dict[str, Any]:
    health, engine = lane.health(), lane.engine
    return {
        "parent": lane.parent,
        "queues": lane.weights,
        "slots": concurrency,
        "running": [_task(task) for task in lane.running()],
        "engine": engine.state.value if engine else "starting",
        "backend_answers": not engine.is_cut_off if engine else None,
        "degraded": lane.degraded.is_set(),
        "executor": {
            "state": health.state.value,
            "pids": list(health.pids),
            "restarts": health.restarts,
            "crashes": health.crashes,
            "last_crash": health.last_crash,
            "fault": health.fault,
        },
        "release": release_facts(lane.release, in_use=True) if lane.release else None,
    }


def _task(task: Task) -> dict[str, Any]:
    began = task.started_at or task.claimed_at
    seconds = round(time.monotonic() - began, 3) if began else 0.0
    return {"id": task.id, "queue": task.queue, "type": task.type, "seconds": seconds}


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
