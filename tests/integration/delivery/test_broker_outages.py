from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
import redis

if TYPE_CHECKING:
    from support.field import Field
    from support.redis_server import RedisServer
    from support.worker_site import WorkerProcess


def begin(field: Field, count: int) -> tuple[list[str], list[WorkerProcess]]:
    """Two workers in the middle of many short tasks."""
    rng = random.Random(count)
    ids = field.put([{"sleep": rng.choice([0, 0.001, 0.01])} for _ in range(count)])
    workers = [field.quick(seed=seed) for seed in (1, 2)]
    field.wait_until(lambda: sum(field.runs().values()) > 100, "tasks running")
    return ids, workers


def end(field: Field, ids: list[str], workers: list[WorkerProcess]) -> None:
    """Everything was done once, by workers that never ended."""
    field.wait_settled(len(ids))
    field.assert_all_completed_once(ids)
    assert [worker.stop() for worker in workers] == [0, 0]
    assert all(worker.lines("lease_lost") == [] for worker in workers)


def test_redis_restarted_under_load(fragile: Field, own_redis: RedisServer) -> None:
    ids, workers = begin(fragile, 1_500)
    for _ in range(3):
        own_redis.stop()
        time.sleep(0.3)
        own_redis.start()
        begun = sum(fragile.runs().values())
        fragile.wait_until(lambda begun=begun: sum(fragile.runs().values()) > begun + 100, "the workers going on")  # type: ignore[misc]
    end(fragile, ids, workers)


def test_redis_killed_under_load(fragile: Field, own_redis: RedisServer) -> None:
    ids, workers = begin(fragile, 1_500)
    for _ in range(3):
        own_redis.kill()
        own_redis.start()
        begun = sum(fragile.runs().values())
        fragile.wait_until(lambda begun=begun: sum(fragile.runs().values()) > begun + 100, "the workers going on")  # type: ignore[misc]
    end(fragile, ids, workers)


def test_all_connections_cut_and_all_scripts_forgotten_again_and_again(fragile: Field) -> None:
    ids, workers = begin(fragile, 1_500)
    for turn in range(20):
        if turn % 2:
            fragile.client.script_flush()
        fragile.client.client_kill_filter(_type="normal", skipme=True)
        fragile.client.client_kill_filter(_type="pubsub")
        time.sleep(0.05)
    end(fragile, ids, workers)


@pytest.mark.parametrize("manner", ["frozen", "paused"])
def test_a_redis_that_hangs_for_longer_than_the_lease_costs_no_living_worker_its_tasks(
    fragile: Field, own_redis: RedisServer, manner: str
) -> None:
    fragile.settings["redis"] |= {"timeout": "700ms", "connect_timeout": "500ms"}
    fragile.settings["lease"] = {"duration": "1s", "renew_every": "200ms", "recover_every": "150ms"}
    ids = fragile.put([{"sleep": 1.5}] * 4)
    workers = [fragile.quick(seed=seed, worker={"concurrency": 2}) for seed in (1, 2)]
    fragile.wait_until(lambda: len(fragile.contents().active) == 4, "tasks running")
    while fragile.settled_count() < len(ids):
        if manner == "frozen":
            own_redis.pause()
            time.sleep(1.6)
            own_redis.resume()
        else:
            fragile.client.client_pause(1600, all=True)
            fragile.client.ping()
        time.sleep(1.2)
    end(fragile, ids, workers)


def test_outcomes_wait_for_a_redis_that_is_away(fragile: Field, own_redis: RedisServer) -> None:
    ids = fragile.put([{"sleep": 0.5}] * 2)
    worker = fragile.quick()
    fragile.wait_until(lambda: len(fragile.runs()) == 1, "the first task running")
    own_redis.stop()
    worker.wait_for_line("backend_unavailable")
    time.sleep(1.5)  # both are through by now, and their leases over
    own_redis.start()
    fragile.wait_settled(2, seconds=15)
    fragile.assert_all_completed_once(ids)
    with redis.Redis(port=own_redis.port) as client:
        assert client.get("asynq:{jobs.default}:failed") is None
    assert worker.stop() == 0
