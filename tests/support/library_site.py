"""Workers as objects in this process."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import yaml

from runqy_worker import Worker, load_config
from support.worker_site import Site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.redis_server import RedisServer

PATIENCE = 60.0


class Library(Site):
    """An installation whose workers are objects in this process."""

    def __init__(self, directory: Path, redis: RedisServer) -> None:
        super().__init__(directory, redis)
        self.settings["deployment"]["installer"] = "uv"

    def write(self, **sections: dict[str, Any]) -> Path:
        """A configuration file; `sections` change the usual settings."""
        settings = {name: dict(values) for name, values in self.settings.items()}
        for name, values in sections.items():
            settings.setdefault(name, {}).update(values)
        (self.directory / "queues.yml").write_text(yaml.safe_dump({"queues": self.queues}))
        path = self.directory / "config.yml"
        path.write_text(yaml.safe_dump(settings))
        return path

    def worker(self, sections: dict[str, dict[str, Any]] | None = None, **options: Any) -> Worker:
        """A worker, not running."""
        return Worker(load_config(self.write(**sections or {})), **options)


class Running:
    """A worker that runs in a thread."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def join(self) -> None:
        """Until it has ended, however."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        """Ask it to stop, wait, and pass on what it raised."""
        self.worker.request_stop()
        self.join()
        if self.error is not None:
            raise self.error


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.01)
