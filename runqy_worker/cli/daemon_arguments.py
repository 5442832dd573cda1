"""The flags of `run` for hosts without a service manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.cli import values

if TYPE_CHECKING:
    import argparse

START_TIMEOUT = 300.0


def add_daemon_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to the command."""
    group = parser.add_argument_group("without a service manager")
    group.add_argument(
        "--daemon",
        action="store_true",
        help="run in the background; the command ends once the worker is ready to run tasks, or with its exit code",
    )
    group.add_argument(
        "--pid-file", metavar="FILE", help="names the worker's process while it lives; a second is refused"
    )
    group.add_argument(
        "--log-file", metavar="FILE", help="where lines go, followed when it is rotated (the system's log, /dev/log)"
    )
    group.add_argument(
        "--start-timeout",
        type=values.duration,
        default=START_TIMEOUT,
        metavar="TIME",
        help=f"how long the command waits; the worker goes on trying after it ({START_TIMEOUT:g}s)",
    )


def is_for_daemon(args: argparse.Namespace) -> bool:
    """Whether any of them asks for something that only a daemon has."""
    return bool(args.daemon or args.pid_file or args.log_file)
