"""Builds the parts of a lane from what the configuration and the registration say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.backend import AsynqBackend
from runqy_worker.engine.engine import Engine
from runqy_worker.engine.retrying import Verdicts
from runqy_worker.executors.factory import make_executor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from runqy_worker.app.context import Context
    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.domain.clock import SharedClock
    from runqy_worker.domain.launch import Launch
    from runqy_worker.domain.ports import Backend, Executor
    from runqy_worker.executors.factory import SwitchableExecutor


def build_executor(context: Context, launch: Launch, clock: SharedClock) -> SwitchableExecutor:
    """The executor of a deployed release, not started."""
    config = context.config
    return make_executor(
        launch,
        concurrency=config.worker.concurrency,
        process=config.process,
        recovery=config.recovery,
        listener=context.listener,
        clock=clock,
        rng=context.rng,
        state_dir=context.state_dir,
    )


def build_backend(
    context: Context, weights: Mapping[str, int], options: RedisOptions, clock: SharedClock, *, store_result: bool
) -> AsynqBackend:
    """The backend of some queues (full name -> weight), not connected."""
    config = context.config
    return AsynqBackend(
        weights,
        options=options,
        worker_id=context.worker_id,
        lease=config.lease,
        lifecycle=config.lifecycle,
        max_retry=config.retry.max_retry,
        strict_priority=config.worker.strict_priority,
        wait_connections=config.worker.wait_connections,
        plain_keys=config.compat.plain_keys,
        store_result=store_result,
        listener=context.listener,
        clock=clock,
        rng=context.rng,
    )


def build_engine(
    context: Context,
    backend: Backend,
    executor: Executor,
    clock: SharedClock,
    renew_credentials: Callable[[], Coroutine[None, None, bool]],
) -> Engine:
    """The engine between the two, not running."""
    config = context.config
    verdicts = Verdicts(
        retry_delay=context.retry_delay,
        max_deaths=config.recovery.max_deaths,
        max_reruns=config.recovery.max_reruns,
        clock=clock,
    )
    return Engine(
        backend,
        executor,
        verdicts,
        renew_every=config.lease.renew_every,
        shutdown_timeout=config.worker.shutdown_timeout,
        stop_grace=config.process.stop_grace,
        listener=context.listener,
        clock=clock,
        rng=context.rng,
        middleware=context.middleware,
        renew_credentials=renew_credentials,
        burst=context.burst,
    )
