"""`runqy-worker run`, the default: work until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

from runqy_worker.cli.config_arguments import add_config_arguments, load_from_arguments
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Iterator

    from runqy_worker.app.worker import Worker

LAST_WORDS = 20.0
"""Seconds that a stop may need beside the time that tasks and processes get: for the last outcomes and the lists."""

_DESCRIPTION = """\
Registers with the server, deploys the task code, and works on tasks until SIGTERM or SIGINT: then running tasks may
end (a second signal hurries). SIGTSTP stops claiming, SIGCONT resumes, SIGHUP deploys the newest commit."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    add_config_arguments(parser)
    parser.add_argument("--burst", action="store_true", help="end once the queues are empty")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load the configuration and serve."""
    with nothing_to_collect():
        from runqy_worker.app.worker import Worker  # noqa: PLC0415 - heavy: not for `--help`
        from runqy_worker.service.privacy import hide_memory  # noqa: PLC0415 - with the worker only
        from runqy_worker.telemetry.logs import configure_logging  # noqa: PLC0415 - with the worker only

        loaded = load_from_arguments(args)
    logger = configure_logging(loaded.config.log)
    for warning in loaded.warnings:
        logger.warning(warning)
    hide_memory()
    asyncio.run(serve(Worker(loaded.config, logger=logger, burst=args.burst)))
    return ExitCode.OK


@contextlib.contextmanager
def nothing_to_collect() -> Iterator[None]:
    """While modules are loaded nothing becomes garbage, and afterwards they need never be looked at again for it."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def serve(worker: Worker) -> None:
    """Run `worker`, obeying signals and keeping the service manager informed."""
    from runqy_worker.service.signals import SignalRouter  # noqa: PLC0415 - with the worker only

    with SignalRouter(
        asyncio.get_running_loop(),
        on_stop=worker.request_stop,
        on_hurry=worker.hurry,
        on_quiet=worker.quiet,
        on_resume=worker.resume,
        on_reload=worker.request_reload,
    ):
        async with service_manager_informed(worker):
            await worker.serve()


@contextlib.asynccontextmanager
async def service_manager_informed(worker: Worker) -> AsyncIterator[None]:
    """Tell the service manager, where there is one, how the worker is doing meanwhile."""
    from runqy_worker.service.notify import Notifier, is_wanted  # noqa: PLC0415 - with the worker only

    if not is_wanted():
        yield
        return
    from runqy_worker.service.pulse import Pulse  # noqa: PLC0415 - likewise

    config = worker.config
    notifier = Notifier(worker.listener)
    pulse = Pulse(
        notifier,
        worker.condition,
        longest_deploy=config.deployment.timeout,
        longest_stop=config.worker.shutdown_timeout + config.process.stop_grace + LAST_WORDS,
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
