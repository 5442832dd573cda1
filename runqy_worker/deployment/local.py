"""Working without a control server: the registration comes from a local queues file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.deployment.answer import QueueAnswer, RedisAnswer, Registration
from runqy_worker.deployment.queues_file import read_queues_file
from runqy_worker.domain.errors import ConfigError
from runqy_worker.domain.events import Level, Listener, Notice, Silent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import Config, RedisConfig


class LocalRegistrar:
    """Gives the registration that a server with the same queues file would give. Stands in for `Registrar`.

    Args:
        config: Names the file (`local.queues_file`) and Redis (`redis`).
        listener: Hears of keys that were not understood.
        environ: Where `${VAR}` in vault entries is looked up.
    """

    def __init__(
        self, config: Config, *, listener: Listener | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._config = config
        self._listener = listener or Silent()
        self._environ = os.environ if environ is None else environ

    async def register(self, queue: str) -> Registration:
        """The registration for `queue`. The file is read anew each time.

        Raises:
            ConfigError: With every problem found.
        """
        registration, remarks = await asyncio.to_thread(self._read, queue)
        for remark in remarks:
            self._listener.notice(Notice("queues_file_key_unknown", remark, Level.WARNING))
        return registration

    async def once(self, queue: str) -> Registration:
        """As `register`: a file needs no second attempt."""
        return await self.register(queue)

    def _read(self, queue: str) -> tuple[Registration, tuple[str, ...]]:
        path = Path(self._config.local.queues_file)
        queues_file = read_queues_file(path, self._environ)
        found = queues_file.find(queue)
        if found is None:
            message = f"{path}: queue {queue!r} is not defined, expected one of: {queues_file.known}"
            raise ConfigError((message,))
        definition, served = found
        registration = Registration(
            redis=_redis(self._config.redis),
            queue=QueueAnswer(queue, max(item.priority for item in served)),
            sub_queues=served,
            deployment=definition.deployment,
            vaults=definition.vault_entries,
            git_token=definition.git_token,
        )
        return registration, queues_file.remarks


def _redis(redis: RedisConfig) -> RedisAnswer:
    if not redis.addr and not redis.sentinel_addrs:
        message = "redis.addr: is empty, expected host:port, since no server tells where Redis is"
        raise ConfigError((message,))
    return RedisAnswer(
        addr=redis.addr,
        password=redis.password,
        db=redis.db or 0,
        use_tls=bool(redis.tls),
        username=redis.username,
    )
