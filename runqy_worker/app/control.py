"""What a running worker does when it is asked over its control socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runqy_worker.app.state import release_facts
from runqy_worker.domain.errors import ControlError
from runqy_worker.domain.events import Silent
from runqy_worker.service.control_server import Verb
from runqy_worker.service.pulse import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runqy_worker.app.deploys import DeployResult
    from runqy_worker.app.state import WorkerState
    from runqy_worker.app.worker import Worker
    from runqy_worker.domain.events import Notice

    Tell = Callable[[Mapping[str, Any]], None]

PROGRESS = frozenset(
    {"reload_started", "environment_ready", "child_ready", "bootstrap_failed"}
    | {"registration_failed", "registration_waiting", "config_reloaded", "config_needs_restart", "start_fell_back"}
)
"""What those who wait for a deploy are told, beside everything that begins with `deploy_`."""


class WorkerControl(Silent):
    """The verbs, and a listener that passes news on to those who wait for a deploy.

    Args:
        worker: Does what is asked for.
        state: Describes it.
    """

    def __init__(self, worker: Worker, state: WorkerState) -> None:
        self._worker = worker
        self._state = state
        self._watching: list[Tell] = []
        self._ended = asyncio.Event()
        self.verbs: Mapping[str, Verb] = {
            "status": Verb(self._status),
            "release_list": Verb(self._release_list),
            "quiet": Verb(self._quiet, changes=True),
            "resume": Verb(self._resume, changes=True),
            "drain": Verb(self._drain, changes=True),
            "deploy": Verb(self._deploy, changes=True),
            "rollback": Verb(self._rollback, changes=True),
        }

    def ended(self) -> None:
        """The worker has ended; those who wait for that may know."""
        self._ended.set()

    def notice(self, notice: Notice) -> None:
        """Pass on what a deploy does."""
        if self._watching and (notice.action in PROGRESS or notice.action.startswith("deploy_")):
            for tell in self._watching:
                tell({"action": notice.action, "message": notice.message})

    async def _status(self, _request: Mapping[str, Any], _tell: Tell) -> dict[str, Any]:
        return {"status": self._state.as_dict()}

    async def _release_list(self, _request: Mapping[str, Any], _tell: Tell) -> dict[str, Any]:
        lanes = []
        for lane in self._worker.lanes:
            found = await asyncio.to_thread(lane.releases.all)
            used = lane.release.name if lane.release else ""
            releases = [release_facts(release, in_use=release.name == used) for release in found]
            lanes.append({"parent": lane.parent, "releases": releases})
        return {"lanes": lanes}

    async def _quiet(self, _request: Mapping[str, Any], _tell: Tell) -> dict[str, Any]:
        changed = not self._worker.is_quiet
        self._worker.quiet()
        return {"changed": changed, "running": self._running()}

    async def _resume(self, _request: Mapping[str, Any], _tell: Tell) -> dict[str, Any]:
        changed = self._worker.is_quiet
        self._worker.resume()
        return {"changed": changed, "running": self._running()}

    async def _drain(self, request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        """Stop as SIGTERM does; with `wait`, the answer comes when the worker has ended."""
        before = self._worker.counts.totals()
        running = self._running()
        self._worker.request_stop()
        if request.get("wait"):
            tell({"action": "draining", "message": f"{running} running tasks may end"})
            await self._ended.wait()
        now = self._worker.counts.totals()
        return {
            "running": running,
            "completed": now.completed - before.completed,
            "failed": now.retried + now.archived - before.retried - before.archived,
            "released": now.released - before.released,
            "ended": self._ended.is_set(),
        }

    async def _deploy(self, request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        self._check_serving()
        deploy = self._worker.deploys.deploy(force=bool(request.get("force")))
        return await self._outcome(deploy, tell) if request.get("wait") else {"begun": True}

    async def _rollback(self, request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
        self._check_serving()
        return await self._outcome(self._worker.deploys.roll_back(str(request.get("queue") or "")), tell)

    async def _outcome(self, deploy: asyncio.Task[DeployResult], tell: Tell) -> dict[str, Any]:
        """Wait for it; it goes on when nobody waits any more."""
        self._watching.append(tell)
        try:
            await asyncio.wait([deploy])
        finally:
            self._watching.remove(tell)
        if deploy.cancelled():
            raise ControlError("the worker stops, so this was given up", reason="stopping")
        result = deploy.result()
        if result.error is not None:
            raise ControlError(result.message, reason="failed")
        return {"result": result.as_dict(), "message": result.message}

    def _check_serving(self) -> None:
        if self._worker.condition.phase() is Phase.STOPPING:
            raise ControlError("the worker is stopping", reason="stopping")

    def _running(self) -> int:
        return sum(len(lane.running()) for lane in self._worker.lanes)
