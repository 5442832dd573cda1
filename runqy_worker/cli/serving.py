"""What stands around a worker that runs as a service: the control socket, and what the service manager is told.

Everything that is needed later is imported here, at the start: an upgrade may replace the program's files meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from runqy_worker.app.control import WorkerControl
from runqy_worker.app.state import WatchedFiles, WorkerState
from runqy_worker.config.places import control_socket
from runqy_worker.domain.errors import ListenError
from runqy_worker.domain.events import Level, Notice
from runqy_worker.service.build import packaged_build
from runqy_worker.service.control_server import ControlServer, Rights
from runqy_worker.service.installed import InstalledFiles
from runqy_worker.service.notify import Notifier, is_wanted
from runqy_worker.service.pulse import Pulse
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from runqy_worker.app.worker import Worker
    from runqy_worker.config.loading import Loaded
    from runqy_worker.config.model import Config

LAST_WORDS = 20.0
"""Seconds that a stop may need beside the time that tasks and processes get: for the last outcomes and the lists."""


class Rereading:
    """Reads the configuration again at each reload, and knows from which files.

    Args:
        load: Loads it.
        loaded: What was loaded at the start.
    """

    def __init__(self, load: Callable[[], Loaded], loaded: Loaded) -> None:
        self._load = load
        self.files = WatchedFiles()
        self.files.read(*loaded.files, *loaded.secret_files)

    def __call__(self) -> Config:
        """The configuration as it is now. Raises `ConfigError`."""
        paths = tuple(self.files.seen)
        self.files.read(*paths)  # before they are read: a change in between is not missed
        loaded = self._load()
        if set(paths) != {*loaded.files, *loaded.secret_files}:
            self.files.read(*loaded.files, *loaded.secret_files)
        return loaded.config


@contextlib.asynccontextmanager
async def controllable(
    worker: Worker, files: WatchedFiles, *, instance: str = "", environ: Mapping[str, str] = os.environ
) -> AsyncIterator[None]:
    """Serve the worker's control socket meanwhile.

    Args:
        worker: The worker.
        files: What its configuration was read from.
        instance: Name of its instance.
        environ: Where the service's runtime directory may be named.

    Raises:
        ListenError: The socket can't be made where the configuration or the service manager wants it. Where nobody
            chose a place, the worker works without one.
    """
    state = WorkerState(worker, instance=instance, build=packaged_build(), installed=InstalledFiles(), files=files)
    control = WorkerControl(worker, state)
    rights = Rights(own_user=worker.config.control.own_user, own_uid=os.geteuid())
    server = ControlServer(control.verbs, rights=rights, program=__version__, listener=worker.listener)
    await _open(server, worker, environ)
    worker.listener.add(control)
    try:
        yield
    finally:
        control.ended()
        await server.close()


async def _open(server: ControlServer, worker: Worker, environ: Mapping[str, str]) -> None:
    path = control_socket(worker.config, environ)
    chosen = worker.config.control.socket or environ.get("RUNTIME_DIRECTORY")
    try:
        if not chosen:
            path.parent.mkdir(parents=True, exist_ok=True)
        await server.open(path)
    except (ListenError, OSError) as error:
        if chosen:
            raise
        hint = "control.socket names another place"
        message = f"`runqy-worker status`, `deploy` and the like can't reach this worker: {error}; {hint}"
        worker.listener.notice(Notice("control_unavailable", message, Level.WARNING, fields={"socket": str(path)}))


@contextlib.asynccontextmanager
async def service_manager_informed(worker: Worker) -> AsyncIterator[None]:
    """Tell the service manager, where there is one, how the worker is doing meanwhile."""
    if not is_wanted():
        yield
        return

    def longest_stop() -> float:
        return worker.config.worker.shutdown_timeout + worker.config.process.stop_grace + LAST_WORDS

    notifier = Notifier(worker.listener)
    pulse = Pulse(
        notifier,
        worker.condition,
        longest_deploy=lambda: worker.config.deployment.timeout,
        longest_stop=longest_stop,
        listener=worker.listener,
    )
    worker.listener.add(pulse)
    beating = asyncio.create_task(pulse.run(), name="pulse")
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])
        notifier.close()
        if not beating.cancelled():
            beating.result()  # it only ends by itself when it broke
