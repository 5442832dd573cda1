"""The simulated fleet is a fleet: its workers do tasks, keep their connections, and can be killed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.fleet import meter, monitor
from benchmarks.fleet.crew import crew
from benchmarks.fleet.feed import Feed, quantiles
from benchmarks.fleet.server import FleetRedis
from benchmarks.fleet.tasks import KEYS, enqueue, payload_of, processed, stamp, stamped_at
from benchmarks.fleet.worker import Kind, queue_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FleetRedis]:
    with FleetRedis(tmp_path / "redis") as running:
        yield running


def test_a_small_fleet_does_all_tasks_and_says_what_it_cost(server: FleetRedis, tmp_path: Path) -> None:
    kind = Kind(server.addr, str(tmp_path), sub_queues=2, task_seconds=0.001)
    with server.client() as client, crew(kind, 4, processes=2, spread=0.1) as fleet:
        fleet.ready()
        with meter.measured(client) as span:
            enqueue(client, 20, stamp())
            done = 0
            waits: list[float] = []
            deadline = time.monotonic() + 30
            while done < 20 and time.monotonic() < deadline:
                report = fleet.total()
                done += sum(report.done)
                waits += report.waits
        assert done == processed(client) == 20
        assert len(waits) == 20
        assert span.calls()["evalsha"] >= 20
        assert span.cpu >= 0
        found = meter.connections(client)
        assert found["connections"]["wait"] == 4 * 2
        assert found["connections"]["registry"] == 4
        assert client.zcard("asynq:servers") == 4


def test_tasks_of_killed_workers_are_counted_when_they_run_again(server: FleetRedis, tmp_path: Path) -> None:
    kind = Kind(server.addr, str(tmp_path), task_seconds=3600)
    with server.client() as client, crew(kind, 2, processes=2, spread=0) as fleet:
        fleet.ready()
        enqueue(client, 2)
        fleet.until(lambda report: report.running == 2, limit=30)
        fleet.kill(0)
        assert fleet.total().running == 1
        assert client.llen(KEYS.active) == 2


def test_the_feed_goes_on_after_redis_came_back(server: FleetRedis) -> None:
    with Feed(server, 200) as feed, server.client() as client:
        _wait_for_more(feed, 0)
        server.put_down()
        server.start()
        before = feed.sent
        _wait_for_more(feed, before)
        assert client.llen(KEYS.pending) >= before > 0


def _wait_for_more(feed: Feed, than: int) -> None:
    deadline = time.monotonic() + 20
    while feed.sent <= than:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_requests_are_counted_by_connection_and_script(server: FleetRedis, tmp_path: Path) -> None:
    kind = Kind(server.addr, str(tmp_path))
    with server.client() as client, crew(kind, 1, spread=0) as fleet:
        fleet.ready()
        seen = monitor.requests(client, "127.0.0.1", server.port, 6)
    assert seen["registry HSET"] > 0
    assert any(name.startswith("upkeep ") and not name.endswith(" script") for name in seen)
    assert not any(name.startswith("other ZRANGE") for name in seen), "what scripts do inside is left out"


def test_payloads_have_their_size_and_carry_their_time() -> None:
    assert len(payload_of(100)) == 100
    assert stamped_at(stamp(5)) == pytest.approx(time.monotonic() + 5, abs=1)
    assert stamped_at(b"not json") == 0
    assert stamped_at(payload_of(20)) == 0


def test_quantiles_of_nothing_are_none() -> None:
    assert quantiles([]) == {}
    assert quantiles([0.1, 0.2, 0.3], 1000) == {"p50": 200, "p99": 300, "most": 300}


def test_the_first_sub_queue_is_the_default_one() -> None:
    assert [queue_name("bench", number) for number in (0, 1)] == ["bench.default", "bench.sub1"]
