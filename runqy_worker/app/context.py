"""What every lane shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from runqy_worker.config.model import Config
    from runqy_worker.deployment.answer import Registration
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener
    from runqy_worker.engine.middleware import Middleware
    from runqy_worker.engine.retrying import RetryDelay


class Source(Protocol):
    """Where registrations come from: the control server, or a local file."""

    async def register(self, queue: str) -> Registration:
        """Register for a queue; tries as long as its settings say. Raises `RegistrationError`."""

    async def once(self, queue: str) -> Registration:
        """The same with a single attempt, for reloads and new credentials. Raises `RegistrationError`."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every lane shares.

    Attributes:
        burst: Stop when the queues are empty.
        state_dir: The worker's own files.
    """

    config: Config
    source: Source
    worker_id: str
    listener: Listener
    clock: Clock
    rng: random.Random
    retry_delay: RetryDelay
    middleware: tuple[Middleware, ...]
    burst: bool
    state_dir: Path
