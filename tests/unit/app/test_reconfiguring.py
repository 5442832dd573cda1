"""Which changed settings are taken over at once."""

from __future__ import annotations

from runqy_worker.app.reconfiguring import is_live, reconfigured
from runqy_worker.config.catalog import SETTINGS
from runqy_worker.config.model import Config, DeploymentConfig, LogConfig, RedisConfig, WorkerConfig


def test_nothing_changed() -> None:
    result = reconfigured(Config(), Config())
    assert (result.config, result.taken, result.left) == (Config(), (), ())


def test_what_can_be_taken_over_is_and_the_rest_stays_as_it_was() -> None:
    old = Config(worker=WorkerConfig(queue="a", concurrency=1), redis=RedisConfig(password="one", timeout=10))
    new = Config(
        worker=WorkerConfig(queue="b", concurrency=2, shutdown_timeout=60),
        deployment=DeploymentConfig(dir="/elsewhere", keep_releases=9),
        redis=RedisConfig(password="two", timeout=20),
        log=LogConfig(level="debug", format="json"),
    )
    result = reconfigured(old, new)
    assert result.config == Config(
        worker=WorkerConfig(queue="a", concurrency=1, shutdown_timeout=60),
        deployment=DeploymentConfig(keep_releases=9),
        redis=RedisConfig(password="two", timeout=10),
        log=LogConfig(level="debug"),
    )
    assert result.taken == ("worker.shutdown_timeout", "deployment.keep_releases", "redis.password", "log.level")
    assert result.left == ("worker.queue", "worker.concurrency", "deployment.dir", "redis.timeout", "log.format")


def test_each_setting_is_one_or_the_other() -> None:
    assert {key for key in SETTINGS if is_live(key)} > {"server.url", "git.token", "log.task_lines"}
    assert not any(is_live(key) for key in SETTINGS if key.startswith(("lease.", "control.", "health.", "process.")))
