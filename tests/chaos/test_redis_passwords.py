"""The password changed under load, all connections cut, and the new one known to the control server only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from chaos.redis_injuries import finish, under_load

from runqy_worker.deployment.answer import RedisAnswer
from runqy_worker.development.control_server import ControlServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena

USER = "fleet"


@pytest.fixture
def control(arena: Arena) -> Iterator[ControlServer]:
    """A control server; the workers know nothing of Redis but what it tells them."""
    arena.write_config()
    with ControlServer(arena.directory / "queues.yml", redis=RedisAnswer(arena.redis.addr)) as control:
        arena.settings |= {"redis": {}, "local": {}, "server": {"url": control.url, "api_key": control.api_key}}
        yield control


def change(arena: Arena, username: str, password: str) -> None:
    """Everyone has to say the new password from now on, the test's own connection excepted."""
    with arena.client.pipeline(transaction=True) as pipe:
        if username:
            pipe.acl_setuser(username, enabled=True, reset_passwords=True, passwords=[f"+{password}"])
        else:
            pipe.config_set("requirepass", password)
        pipe.client_kill_filter(_type="normal", skipme=True)
        pipe.client_kill_filter(_type="pubsub")
        pipe.execute()
    if not username:
        arena.password = password


@pytest.mark.parametrize("username", ["", USER], ids=["default", "acl"])
def test_password_rotated_under_load(arena: Arena, control: ControlServer, username: str) -> None:
    if username:
        arena.client.acl_setuser(
            username, enabled=True, passwords=["+first"], keys=["*"], channels=["*"], commands=["+@all"]
        )
        control.redis = RedisAnswer(arena.redis.addr, username=username, password="first")
    workers = arena.team(2)
    passwords = []

    def rotate() -> None:
        """The server learns it before, at once, or only after the workers have asked it in vain."""
        passwords.append(f"secret-{arena.rng.getrandbits(48):012x}")
        answer = RedisAnswer(arena.redis.addr, username=username, password=passwords[-1])
        late = arena.rng.choice([-0.1, 0, 0.5, 1.5])
        if late < 0:
            control.redis = answer
        change(arena, username, passwords[-1])
        time.sleep(max(0, late))
        control.redis = answer
        arena.ledger.injure("password changed and all connections cut")

    under_load(arena, arena.size(2, 60), rotate)
    finish(arena, workers)
    assert len(set(arena.run_pids())) == len(workers), "a worker's process was not kept"
    assert [word for word in passwords for worker in workers if word in worker.log_text()] == []
