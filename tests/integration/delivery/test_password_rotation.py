from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.field import children_of

from runqy_worker.deployment.answer import RedisAnswer
from runqy_worker.development.control_server import ControlServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.field import Field
    from support.redis_server import RedisServer


@pytest.fixture
def control(fragile: Field, own_redis: RedisServer) -> Iterator[ControlServer]:
    """A control server that knows the password; the worker knows nothing of Redis by itself."""
    fragile.write_config()
    with ControlServer(fragile.directory / "queues.yml", redis=RedisAnswer(own_redis.addr)) as control:
        fragile.settings["redis"] = {}
        fragile.settings["local"] = {}
        fragile.settings["server"] = {"url": control.url, "api_key": control.api_key}
        yield control


def rotate(field: Field, control: ControlServer, password: str, *, server_first: bool = True) -> None:
    """A new password everywhere; everyone has to say it from now on."""
    answer = RedisAnswer(control.redis.addr, password=password)
    if server_first:
        control.redis = answer
    with field.client.pipeline(transaction=True) as pipe:
        pipe.config_set("requirepass", password)
        pipe.client_kill_filter(_type="normal", skipme=True)
        pipe.client_kill_filter(_type="pubsub")
        pipe.execute()
    control.redis = answer
    field.password = password


def test_a_rotated_password_is_adopted_and_the_process_kept(fragile: Field, control: ControlServer) -> None:
    ids = fragile.put([{"sleep": 0.005}] * 800)
    worker = fragile.quick()
    fragile.wait_until(lambda: len(fragile.runs()) > 50, "tasks running")
    children = children_of(worker)
    assert len(children) == 1
    calls = len(control.received)
    # The connection that stands stays authenticated, so what the test looks at Redis with is not cut off.
    rotate(fragile, control, "swordfish")
    begun = len(fragile.runs())
    fragile.wait_until(lambda: len(fragile.runs()) > begun + 200, "the worker going on")
    assert len(control.received) > calls

    fragile.wait_until(lambda: len(fragile.runs()) == len(ids), "all being run")
    assert children_of(worker) == children
    assert set(fragile.run_pids()) == {children[0].pid}
    assert "swordfish" not in worker.log_text()
    worker.wait_for_line("backend_back")
    fragile.wait_settled(len(ids))
    fragile.assert_all_completed_once(ids)
    keys = [key for key in fragile.client.scan_iter("asynq:workers:*") if not key.endswith(":logs")]
    assert len(keys) == 1
    assert worker.stop() == 0


def test_a_server_that_learns_the_password_late_is_asked_again(fragile: Field, control: ControlServer) -> None:
    ids = fragile.put([{"sleep": 0.005}] * 400)
    worker = fragile.quick()
    fragile.wait_until(lambda: len(fragile.runs()) > 50, "tasks running")
    calls = len(control.received)
    rotate(fragile, control, "swordfish", server_first=False)
    fragile.client.config_set("requirepass", "marlin")
    fragile.password = "marlin"
    fragile.wait_until(lambda: len(control.received) > calls, "it asking the server")
    control.redis = RedisAnswer(control.redis.addr, password="marlin")
    fragile.wait_until(lambda: len(fragile.runs()) == len(ids), "all being run")
    fragile.wait_settled(len(ids))
    fragile.assert_all_completed_once(ids)
    assert worker.stop() == 0
