"""Opens the health endpoint of a worker, for as long as it works."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from runqy_worker.config.addresses import listen_address
from runqy_worker.config.model import OFF
from runqy_worker.config.places import runtime_dir
from runqy_worker.domain.errors import ListenError
from runqy_worker.domain.events import Level, Notice
from runqy_worker.service.health import Health, listen
from runqy_worker.service.probes import Probes
from runqy_worker.telemetry.event_counts import EventCounts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from runqy_worker.app.metrics import WorkerMetrics
    from runqy_worker.app.worker import Worker
    from runqy_worker.config.model import Config
    from runqy_worker.service.health import Listening
    from runqy_worker.service.small_http import SmallHttp

SOCKET = "health.sock"


@contextlib.asynccontextmanager
async def health_served(worker: Worker, environ: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Let others ask how the worker is doing meanwhile, unless `health.address` is `off`.

    Where no address is configured, being unable to listen is told and harms nothing else: several workers may be
    started by hand in one directory.

    Raises:
        ListenError: What `health.address` names can't be listened at.
    """
    configured = worker.config.health.address
    if configured == OFF:
        yield
        return
    events = EventCounts(worker.clock)
    probes = Probes(worker.condition)
    worker.listener.add(events)
    worker.listener.add(probes)
    metrics = _Metrics(worker, events, probes)
    health = Health(probes, metrics.read, token=worker.config.health.token, listener=worker.listener)
    listening = await _listen(worker, configured, environ, health.http)
    try:
        yield
    finally:
        if listening is not None:
            listening.close()


class _Metrics:
    """`WorkerMetrics`, whose module is loaded while the task code is deployed, or when somebody asks before."""

    def __init__(self, worker: Worker, events: EventCounts, probes: Probes) -> None:
        self._arguments = worker, events, probes
        self._metrics: WorkerMetrics | None = None

    async def read(self) -> str:
        """See `WorkerMetrics`."""
        from runqy_worker.app.metrics import WorkerMetrics  # noqa: PLC0415 - see above

        if self._metrics is None:
            self._metrics = WorkerMetrics(*self._arguments)
        return await self._metrics.read()


async def _listen(worker: Worker, configured: str, environ: Mapping[str, str], http: SmallHttp) -> Listening | None:
    try:
        listening = await listen(listen_address(configured) or _usual(worker.config, environ), http)
    except ListenError as error:
        if configured:
            raise
        message = f"{error}; nobody can ask how this worker is doing"
        worker.listener.notice(Notice("health_unavailable", message, Level.WARNING))
        return None
    shown = ", ".join(listening.addresses)
    message = f"health and metrics are told at {shown}"
    worker.listener.notice(Notice("health_listening", message, fields={"address": shown}))
    return listening


def _usual(config: Config, environ: Mapping[str, str]) -> str:
    """Beside the control socket.

    Raises:
        ListenError: The directory can't be made.
    """
    directory = runtime_dir(config, environ).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ListenError(f"health.address: can't make {directory}: {error.strerror}") from None
    return str(directory / SOCKET)
