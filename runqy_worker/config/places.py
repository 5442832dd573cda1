"""Where a worker keeps what is its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import Config


def state_dir(config: Config) -> Path:
    """Its own files: `worker.state_dir`, else `.runqy` below `deployment.dir`."""
    return Path(config.worker.state_dir or Path(config.deployment.dir) / ".runqy")


def runtime_dir(config: Config, environ: Mapping[str, str]) -> Path:
    """Its sockets: the service's runtime directory where a service manager made one, else `state_dir`."""
    given = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]  # several are separated by colons
    return Path(given) if given else state_dir(config)


def control_socket(config: Config, environ: Mapping[str, str]) -> Path:
    """The control socket.

    Args:
        config: `control.socket` wins where it is set.
        environ: The worker's variables; a client that looks for a worker of another service gives none.
    """
    return Path(config.control.socket) if config.control.socket else runtime_dir(config, environ) / "control.sock"
