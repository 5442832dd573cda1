"""Where Redis is, for commands that talk to it without a worker: a flag, the environment or the configuration."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from runqy_worker.cli import values
from runqy_worker.cli.parsing import DEFAULT_PATHS
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    from runqy_worker.backends.asynq.options import RedisOptions

_NOWHERE = (
    "redis.addr: not set, expected host:port or a socket path: give --redis, or set RUNQY_REDIS_ADDR or "
    "redis.addr in the configuration (what the control server answers a worker is not known here)"
)


def add_redis_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to a command."""
    group = parser.add_argument_group("where Redis is")
    group.add_argument(
        "--redis",
        metavar="ADDR",
        type=values.address,
        help="host:port or a socket path; user, password and TLS then come from RUNQY_REDIS_* or --config",
    )
    group.add_argument("--config", metavar="FILE", help=f"configuration file ({DEFAULT_PATHS})")
    group.add_argument("--instance", metavar="NAME", help="overlay instances/NAME.yml beside the configuration file")


def add_action(
    parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], act: Callable[..., Awaitable[None]]
) -> None:
    """Add what every command about queues or tasks takes, and say that `run` does it by `act`."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_redis_arguments(parser)
    parser.set_defaults(run=run, act=act)


def options_from_arguments(args: argparse.Namespace) -> RedisOptions:
    """What the flags ask for.

    With `--redis` alone no configuration file is read, so that no password meant for another server is sent there.

    Raises:
        ConfigError: Nothing says where Redis is, or what does can't be read.
    """
    from runqy_worker.app.redis_access import redis_options  # noqa: PLC0415 - redis is not for `--help`
    from runqy_worker.config.loading import load_with_origins  # noqa: PLC0415 - nor is yaml

    addr: str | None = args.redis
    path = os.devnull if addr and args.config is None and args.instance is None else args.config
    flags = {"redis.addr": addr} if addr else {}
    config = load_with_origins(path, flags=flags, instance=args.instance, allow_unknown=True, partial=True).config
    if not config.redis.addr and not config.redis.sentinel_addrs:
        raise ConfigError((_NOWHERE,))
    options = redis_options(config.redis)
    return dataclasses.replace(options, sentinel_addrs=()) if addr else options
