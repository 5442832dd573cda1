"""Fixtures that every level of tests shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


BOOTING = tuple(Path(__file__).parent / name for name in ("fleet", "host"))
LONGEST_BUILD = 600
"""Seconds, on a machine that is busy with other tests."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `make chaos` asks for; the options must be known before tests/chaos is looked at."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-long", action="store_true", help="run the long forms of tests/chaos")
    group.addoption("--chaos-seed", type=int, default=1, help="what the random choices of tests/chaos begin with")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What boots machines is looked at only where it is named, as `make test-host` does."""
    if collection_path not in BOOTING:
        return None
    named = ((config.invocation_params.dir / arg.split("::")[0]).resolve() for arg in config.args)
    return None if any(path.is_relative_to(collection_path) for path in named) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that needs the Go program also compiles it, with everything that it stands on."""
    for item in items:
        if item.get_closest_marker("interop") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONGEST_BUILD))


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real Redis for the whole run; `redis_server` empties it for each test."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """A real, empty Redis. Tests that injure the server start their own `RedisServer`."""
    import redis  # noqa: PLC0415 - only tests that ask for a server need the client

    with redis.Redis(port=shared_redis.port) as client:
        client.flushall()
    return shared_redis


@pytest.fixture(scope="session")
def asynq_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real asynq library as a program, built once per run."""
    from support.asynq_go import build  # noqa: PLC0415 - only some tests need it

    return build(tmp_path_factory.mktemp("asynq") / "interop")
