"""The control server and Redis are down at boot, for long; then they are healed, and nobody touches the worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.redis_server import free_port

from runqy_worker.development.control_server import ControlServer

if TYPE_CHECKING:
    from chaos.arena import Arena
    from support.redis_server import RedisServer


def test_control_server_and_redis_down_at_boot(arena: Arena, own_redis: RedisServer) -> None:
    outage = arena.size(8, 600)
    port, api_key = free_port(), "the-workers-key"
    arena.enter(arena.short_tasks(200))
    own_redis.stop()
    arena.settings["local"] = {}
    arena.settings["redis"] = {}
    arena.settings["bootstrap"] = {}  # as it is when nobody says anything
    arena.settings["server"] = {"url": f"http://127.0.0.1:{port}", "api_key": api_key}
    workers = [arena.quick(seed=seed) for seed in range(2)]
    for worker in workers:
        worker.wait_for_line("registration_failed")
    time.sleep(outage / 2)
    with ControlServer(arena.directory / "queues.yml", redis_addr=own_redis.addr, port=port, api_key=api_key):
        arena.ledger.injure("control server down at boot")
        time.sleep(outage / 2)  # registered, and Redis still away
        own_redis.start()
        healed_at = time.monotonic()
        arena.ledger.injure("Redis down at boot")
        arena.wait_until(arena.runs, "a task running")
        arena.ledger.figures["seconds that both were down"] = outage
        arena.ledger.figures["seconds from healing to the first task"] = round(time.monotonic() - healed_at, 1)
        arena.settle()
        arena.account()
        assert [worker.stop() for worker in workers] == [0, 0]
