"""The flags that say where the configuration is, and those that win over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from runqy_worker.config.loading import Loaded

_FLAGS = {
    "queues": "worker.queues",
    "concurrency": "worker.concurrency",
    "log_level": "log.level",
    "log_format": "log.format",
}


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to a command."""
    parser.add_argument(
        "--config", metavar="FILE", help="configuration file (./config.yml, /etc/runqy-worker/config.yml)"
    )
    parser.add_argument("--instance", metavar="NAME", help="overlay instances/NAME.yml beside the configuration file")
    parser.add_argument("--allow-unknown", action="store_true", help="warn of unknown keys instead of refusing them")
    parser.add_argument("--queues", metavar="NAME[,NAME]", help="queues to work on, instead of the configured ones")
    parser.add_argument("--concurrency", metavar="N", help="tasks in hand at once per process")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    parser.add_argument("--log-format", metavar="FORMAT", help="console, json or journal")


def load_from_arguments(args: argparse.Namespace) -> Loaded:
    """The configuration that the flags ask for, and what is to be said about it.

    Raises:
        ConfigError: With every problem found.
    """
    from runqy_worker.config.loading import load_with_origins  # noqa: PLC0415 - yaml is not for `--help`

    given = {key: getattr(args, name) for name, key in _FLAGS.items() if getattr(args, name) is not None}
    return load_with_origins(args.config, flags=given, instance=args.instance, allow_unknown=args.allow_unknown)
