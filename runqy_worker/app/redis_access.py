"""Where Redis is: the server's answer, with each locally configured value winning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.backends.asynq.options import RedisOptions
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from runqy_worker.config.model import RedisConfig
    from runqy_worker.deployment.answer import RedisAnswer


def redis_options(local: RedisConfig, answer: RedisAnswer | None = None) -> RedisOptions:
    """Merge the two.

    Raises:
        ConfigError: Neither says where Redis is.
    """
    addr = local.addr or (answer.addr if answer else "")
    if not addr and not local.sentinel_addrs:
        raise ConfigError(("redis.addr: not set, and no server answered it; expected host:port or a socket path",))
    answered_db = answer.db if answer else 0
    answered_tls = answer.use_tls if answer else False
    return RedisOptions(
        addr=addr,
        username=local.username or (answer.username if answer else ""),
        password=local.password or (answer.password if answer else ""),
        db=answered_db if local.db is None else local.db,
        tls=answered_tls if local.tls is None else local.tls,
        ca_file=local.ca_file,
        cert_file=local.cert_file,
        key_file=local.key_file,
        sentinel_master=local.sentinel_master,
        sentinel_addrs=local.sentinel_addrs,
        sentinel_username=local.sentinel_username,
        sentinel_password=local.sentinel_password,
        connect_timeout=local.connect_timeout,
        timeout=local.timeout,
    )
