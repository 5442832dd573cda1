"""`runqy-worker run`, the default: work until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import TYPE_CHECKING

from runqy_worker.cli.config_arguments import add_config_arguments, load_from_arguments
from runqy_worker.cli.daemon_arguments import add_daemon_arguments, is_for_daemon
from runqy_worker.service.exit_codes import ExitCode

if TYPE_CHECKING:
    import argparse
    import logging
    from collections.abc import Callable, Iterator

    from runqy_worker.app.worker import Worker
    from runqy_worker.cli.serving import Rereading
    from runqy_worker.config.loading import Loaded

_DESCRIPTION = """\
Registers with the server, deploys the task code, and works on tasks until SIGTERM or SIGINT: then running tasks may
end (a second signal hurries). SIGTSTP stops claiming, SIGCONT resumes, SIGHUP deploys the newest commit."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = _DESCRIPTION
    add_config_arguments(parser)
    parser.add_argument("--burst", action="store_true", help="end once the queues are empty")
    add_daemon_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load the configuration and serve."""
    if is_for_daemon(args):
        from runqy_worker.cli.daemon import run as run_daemon  # noqa: PLC0415 - hosts without a service manager only

        return run_daemon(args)
    loaded = load_from_arguments(args)
    worker, reread = make_worker(args, loaded)
    asyncio.run(serve(worker, reread, instance=args.instance or ""))
    return ExitCode.OK


def make_worker(
    args: argparse.Namespace, loaded: Loaded, logger: logging.Logger | None = None
) -> tuple[Worker, Rereading]:
    """The worker that the command asks for, and how its configuration is read again; nobody can look into it any more.

    Args:
        args: The command's.
        loaded: Its configuration.
        logger: Takes its log; by default the standard error does.
    """
    with nothing_to_collect():
        from runqy_worker.app.worker import Worker  # noqa: PLC0415 - heavy: not for `--help`
        from runqy_worker.cli.serving import Rereading  # noqa: PLC0415 - with the worker only
        from runqy_worker.service.privacy import hide_memory  # noqa: PLC0415 - likewise
        from runqy_worker.telemetry.logs import configure_logging  # noqa: PLC0415 - likewise

        logger = logger or configure_logging(loaded.config.log)
    for warning in loaded.warnings:
        logger.warning(warning)
    hide_memory()
    reread = Rereading(lambda: load_from_arguments(args), loaded)
    return Worker(loaded.config, logger=logger, burst=args.burst, reread=reread), reread


@contextlib.contextmanager
def nothing_to_collect() -> Iterator[None]:
    """While modules are loaded nothing becomes garbage, and afterwards they need never be looked at again for it."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


async def serve(
    worker: Worker,
    reread: Rereading | None = None,
    *,
    instance: str = "",
    on_reload: Callable[[], object] | None = None,
) -> None:
    """Run `worker`, obeying signals and the control socket and keeping the service manager informed.

    Args:
        worker: The worker.
        reread: How its configuration was read.
        instance: Name of its instance.
        on_reload: Called first at SIGHUP.
    """
    from runqy_worker.app.health import health_served  # noqa: PLC0415 - with the worker only
    from runqy_worker.app.state import WatchedFiles  # noqa: PLC0415 - likewise
    from runqy_worker.cli.serving import controllable, service_manager_informed  # noqa: PLC0415 - likewise
    from runqy_worker.service.signals import SignalRouter  # noqa: PLC0415 - likewise

    def reload() -> None:
        if on_reload is not None:
            on_reload()
        worker.request_reload()

    files = reread.files if reread is not None else WatchedFiles()
    with SignalRouter(
        asyncio.get_running_loop(),
        on_stop=worker.request_stop,
        on_hurry=worker.hurry,
        on_quiet=worker.quiet,
        on_resume=worker.resume,
        on_reload=reload,
    ):
        async with (
            controllable(worker, files, instance=instance),
            service_manager_informed(worker),
            health_served(worker),
        ):
            await worker.serve()
