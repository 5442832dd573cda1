"""`runqy-worker run --daemon`: for hosts without systemd."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.cli.config_arguments import load_from_arguments
from runqy_worker.cli.run import make_worker, serve
from runqy_worker.service.daemonizing import part
from runqy_worker.service.exit_codes import ExitCode, for_error
from runqy_worker.service.pid_file import PidFile

if TYPE_CHECKING:
    import argparse

    from runqy_worker.config.loading import Loaded
    from runqy_worker.service.foreground import Foreground


def run(args: argparse.Namespace) -> int:
    """Check, part, and in the command wait for the daemon; returns its exit code, or that of the daemon's end."""
    problem = _problem(args)
    if problem:
        print(f"runqy-worker run: {problem}", file=sys.stderr)
        return ExitCode.USAGE
    loaded = load_from_arguments(args)
    pid_file = PidFile(Path(args.pid_file).absolute())
    pid_file.take()
    parted = part(pid_file, limit=args.start_timeout, say=lambda text: print(f"runqy-worker: {text}", file=sys.stderr))
    if parted.foreground is None:
        return int(parted.code or ExitCode.OK)
    try:
        _work(args, loaded, parted.foreground)
    except BaseException as error:
        parted.foreground.end(for_error(error), str(error) or type(error).__name__)
        raise
    finally:
        pid_file.remove()
    return ExitCode.OK


def _problem(args: argparse.Namespace) -> str:
    """What is wrong with the flags; empty when nothing is."""
    from runqy_worker.telemetry.log_file import SYSTEM_LOG  # noqa: PLC0415 - with a daemon only

    if not args.daemon:
        flag = "--pid-file" if args.pid_file else "--log-file"
        return f"{flag}: found it without --daemon, expected both or neither"
    if not args.pid_file:
        return "--daemon: found it without --pid-file, expected both"
    if not args.log_file and not Path(SYSTEM_LOG).exists():
        return f"--daemon: found no --log-file, and there is no {SYSTEM_LOG}; expected one of them"
    return ""


def _work(args: argparse.Namespace, loaded: Loaded, foreground: Foreground) -> None:
    """The daemon's life."""
    from runqy_worker.telemetry.log_file import FollowedFile, daemon_handler  # noqa: PLC0415 - with a daemon only
    from runqy_worker.telemetry.logs import configure_logging  # noqa: PLC0415 - likewise

    handler = daemon_handler(Path(args.log_file).absolute() if args.log_file else None, loaded.config.log.format)
    worker, reread = make_worker(args, loaded, configure_logging(loaded.config.log, handler=handler))
    foreground.is_ready = worker.condition.is_ready
    worker.listener.add(foreground)
    follow = handler.follow if isinstance(handler, FollowedFile) else None
    asyncio.run(serve(worker, reread, instance=args.instance or "", on_reload=follow))
