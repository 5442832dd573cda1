"""An engine between a fake backend and a fake executor."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, TypeAlias

from runqy_worker.domain.clock import SystemClock
from runqy_worker.engine.engine import Engine
from runqy_worker.engine.retrying import Verdicts
from support.fakes import FakeBackend, FakeExecutor, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


class Bench:
    """The engine and what stands around it."""

    def __init__(self, slots: int, **options: Any) -> None:
        self.backend = FakeBackend()
        self.executor = FakeExecutor(slots)
        self.listener = Recorder()
        clock = SystemClock()
        verdicts = Verdicts(retry_delay=lambda *_: 15.0, max_deaths=3, max_reruns=3, clock=clock)
        settings: dict[str, Any] = {"renew_every": 60, "shutdown_timeout": 5, "stop_grace": 1, **options}
        self.engine = Engine(
            self.backend,
            self.executor,
            verdicts,
            listener=self.listener,
            clock=clock,
            rng=random.Random(1),
            **settings,
        )

    def settled(self) -> list[tuple[str, str]]:
        """What was settled: (task id, action name)."""
        return [(settlement.task.id, settlement.action.name) for settlement in self.backend.settled]


MakeEngine: TypeAlias = "Callable[..., AbstractAsyncContextManager[Bench]]"
