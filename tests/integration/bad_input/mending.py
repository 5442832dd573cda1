"""What tests do to a site beside the ordinary."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import yaml

from runqy_worker.backends.asynq.client import AsynqClient
from runqy_worker.backends.asynq.options import RedisOptions

if TYPE_CHECKING:
    from support.worker_site import Site


def write_queues(site: Site) -> None:
    """Let the queues file say what `site.queues` says now."""
    (site.directory / "queues.yml").write_text(yaml.safe_dump({"queues": site.queues}))


def enqueue_bytes(site: Site, queue: str, payload: bytes) -> str:
    """Enqueue a payload that may be anything."""

    async def send() -> str:
        async with AsynqClient(RedisOptions(addr=site.redis.addr)) as client:
            return await client.enqueue(queue, payload, retention=600)

    return asyncio.run(send())


def run_now(site: Site, task_id: str, queue: str) -> None:
    """Let a task that waits for its retry run at once."""

    async def ask() -> None:
        async with AsynqClient(RedisOptions(addr=site.redis.addr)) as client:
            await client.run_now(task_id, queue)

    asyncio.run(ask())


def assert_waits(site: Site, task_id: str) -> None:
    """The task is where it was, with nothing held against it."""
    info = site.task(task_id)
    assert (info.state, info.retried, info.deaths, info.reruns) == ("pending", 0, 0, 0)
