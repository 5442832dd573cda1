"""The flags that say where the configuration is, and those that win over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.cli import values
from runqy_worker.cli.parsing import DEFAULT_PATHS
from runqy_worker.config.catalog import SETTINGS
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from runqy_worker.config.loading import Loaded

_FLAGS = {
    "queues": "worker.queues",
    "concurrency": "worker.concurrency",
    "log_level": "log.level",
    "log_format": "log.format",
}


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to a command."""
    parser.add_argument("--config", metavar="FILE", help=f"configuration file ({DEFAULT_PATHS})")
    parser.add_argument("--instance", metavar="NAME", help="overlay instances/NAME.yml beside the configuration file")
    parser.add_argument("--allow-unknown", action="store_true", help="warn of unknown keys instead of refusing them")
    parser.add_argument("--queues", metavar="NAME[,NAME]", help="queues to work on, instead of the configured ones")
    parser.add_argument("--concurrency", metavar="N", type=values.positive, help="tasks in hand at once per process")
    _add_choice(parser, "--log-level", "LEVEL", "least severity shown")
    _add_choice(parser, "--log-format", "FORMAT", "how log lines look")


def _add_choice(parser: argparse.ArgumentParser, flag: str, metavar: str, text: str) -> None:
    choices = SETTINGS[_FLAGS[flag.strip("-").replace("-", "_")]].setting.choices
    parser.add_argument(flag, metavar=metavar, choices=choices, help=f"{text}: {', '.join(choices)}")


def add_credential_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag for credentials that are not here, to a command that only looks."""
    from runqy_worker.service.instances.places import CREDENTIALS  # noqa: PLC0415 - with such commands only

    parser.add_argument(
        "--credential",
        action="append",
        default=[],
        choices=CREDENTIALS,
        metavar="NAME",
        help=f"a systemd credential that the unit will provide (repeatable): {', '.join(CREDENTIALS)}",
    )


def no_file_hint(path: str | Path | None) -> tuple[str, ...]:
    """What to say beside problems, a line or none: that there was no file, when none was named and none is there."""
    from runqy_worker.config.loading import default_path  # noqa: PLC0415 - yaml is not for `--help`

    if path is not None or default_path() is not None:
        return ()
    return (f"no configuration file was found: looked for {DEFAULT_PATHS}; --config names another",)


def load_from_arguments(args: argparse.Namespace) -> Loaded:
    """The configuration that the flags ask for, and what is to be said about it.

    Raises:
        ConfigError: With every problem found.
    """
    from runqy_worker.config.loading import load_with_origins  # noqa: PLC0415 - yaml is not for `--help`

    given = {key: str(getattr(args, name)) for name, key in _FLAGS.items() if getattr(args, name) is not None}
    try:
        return load_with_origins(args.config, flags=given, instance=args.instance, allow_unknown=args.allow_unknown)
    except ConfigError as error:
        raise ConfigError((*error.problems, *no_file_hint(args.config))) from None
