"""Makes the executor that a launch asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.launch import Mode
from runqy_worker.domain.ports import Executor
from runqy_worker.executors.long_running import LongRunningExecutor
from runqy_worker.executors.one_shot import OneShotExecutor

if TYPE_CHECKING:
    import random

    from runqy_worker.config.model import ProcessConfig, RecoveryConfig
    from runqy_worker.domain.clock import Clock
    from runqy_worker.domain.events import Listener
    from runqy_worker.domain.launch import Launch


class SwitchableExecutor(Executor, Protocol):
    """An executor that another release of the task code can take over."""

    async def switch(self, launch: Launch, *, mode: str, drain: float) -> float:
        """Let `launch` take over; returns at the switch, the old processes drain behind it.

        Args:
            launch: The release, in the same mode as the one before.
            mode: `overlap`, `stop_first`, or `auto`: overlap unless a GPU may be in use.
            drain: Seconds that the old processes get to finish their tasks.

        Returns:
            Seconds in which no task could start; 0 for an overlap.

        Raises:
            ExecutorStartError: The new release did not become ready; the old one still serves.
        """


def make_executor(
    launch: Launch,
    *,
    concurrency: int,
    process: ProcessConfig,
    recovery: RecoveryConfig,
    listener: Listener,
    clock: Clock,
    rng: random.Random,
    state_dir: str | Path | None = None,
) -> SwitchableExecutor:
    """An executor for the launch's mode; not started yet. See `LongRunningExecutor` for the arguments."""
    kind = OneShotExecutor if launch.mode is Mode.ONE_SHOT else LongRunningExecutor
    return kind(
        launch,
        concurrency=concurrency,
        process=process,
        recovery=recovery,
        listener=listener,
        clock=clock,
        rng=rng,
        state_dir=None if state_dir is None else Path(state_dir),
    )
