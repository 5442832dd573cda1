"""What every lane shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from runqy_worker.config.model import Config
    from runqy_worker.deployment.registration import Registers
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener
    from runqy_worker.engine.middleware import Middleware
    from runqy_worker.engine.retrying import RetryDelay


@dataclass(slots=True)
class Context:
    """What every lane shares. A reload replaces `config` and `source`; who needs them looks here each time.

    Attributes:
        burst: Stop when the queues are empty.
        state_dir: The worker's own files.
    """

    config: Config
    source: Registers
    worker_id: str
    listener: Listener
    clock: Clock
    rng: random.Random
    retry_delay: RetryDelay
    middleware: tuple[Middleware, ...]
    burst: bool
    state_dir: Path
