"""Everything that the earlier worker's documents show loads, with the values that they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.config.catalog import VARIABLES, value_of
from runqy_worker.config.loading import load_config

if TYPE_CHECKING:
    from unit.config.conftest import Desk


def test_the_quick_start(desk: Desk) -> None:
    config = desk.load("""\
        server:
          url: "http://localhost:8081"
          api_key: "your-api-key"

        worker:
          queue: "inference"      # Single queue
          # queues:               # Or multiple queues
          #   - inference
          #   - simple
          concurrency: 1
          shutdown_timeout: 30s

        bootstrap:
          retries: 3
          retry_delay: "5s"

        deployment:
          dir: "./deployment"

        retry:
          max_retry: 2
    """).config
    assert config.server.url == "http://localhost:8081"
    assert config.server.api_key == "your-api-key"
    assert config.queues == ("inference",)
    assert config.worker.concurrency == 1
    assert config.worker.shutdown_timeout == 30
    assert (config.bootstrap.retries, config.bootstrap.retry_delay) == (3, 5)
    assert config.deployment.dir == "./deployment"
    assert config.retry.max_retry == 2


def test_several_queues(desk: Desk) -> None:
    config = desk.load("""\
        server: {url: "http://localhost:8081", api_key: k}
        worker:
          queues:
            - inference
            - simple
    """).config
    assert config.queues == ("inference", "simple")


def test_the_configuration_file(desk: Desk) -> None:
    config = desk.load("""\
        server:
          url: "http://localhost:8081"
          api_key: "your-secret-api-key"
        worker:
          queue: "inference"
          concurrency: 1
          shutdown_timeout: 30s
        deployment:
          dir: "./deployment"
          use_system_site_packages: true # Set to false for isolated virtualenv
        recovery:
          enabled: true # Auto-restart crashed Python processes (default: true)
          max_restarts: 5 # Circuit breaker threshold (default: 5)
          cooldown_period: 10m # Stable run time to reset counter (default: 10m)
    """).config
    assert config.deployment.use_system_site_packages is True
    assert (config.recovery.enabled, config.recovery.max_restarts, config.recovery.cooldown_period) == (True, 5, 600)


def test_quoted_recovery_settings(desk: Desk, enough: dict[str, str]) -> None:
    recovery = desk.load(
        """\
        recovery:
          enabled: false
          max_restarts: 7
          initial_delay: "2s"
          max_delay: "6m"
          backoff_factor: 2.5
          cooldown_period: "11m"
        """,
        enough,
    ).config.recovery
    assert recovery.enabled is False
    assert (recovery.max_restarts, recovery.initial_delay, recovery.max_delay) == (7, 2, 360)
    assert (recovery.backoff_factor, recovery.cooldown_period) == (2.5, 660)


def test_the_documented_defaults(desk: Desk, enough: dict[str, str]) -> None:
    config = desk.load(environ=enough).config
    documented = {
        "worker.concurrency": 1,
        "worker.shutdown_timeout": 30,
        "bootstrap.retries": 3,
        "bootstrap.retry_delay": 5,
        "deployment.dir": "./deployment",
        "deployment.use_system_site_packages": True,
        "retry.max_retry": 3,
        "recovery.enabled": True,
        "recovery.max_restarts": 5,
        "recovery.initial_delay": 1,
        "recovery.max_delay": 300,
        "recovery.backoff_factor": 2.0,
        "recovery.cooldown_period": 600,
    }
    assert {key: value_of(config, key) for key in documented} == documented


DOCUMENTED_VARIABLES = [
    ("RUNQY_SERVER_URL", "https://runqy.example.com", "server.url", "https://runqy.example.com"),
    ("RUNQY_API_KEY", "secret", "server.api_key", "secret"),
    ("RUNQY_QUEUES", "inference, reports.high", "worker.queues", ("inference", "reports.high")),
    ("RUNQY_CONCURRENCY", "8", "worker.concurrency", 8),
    ("RUNQY_SHUTDOWN_TIMEOUT", "1m", "worker.shutdown_timeout", 60),
    ("RUNQY_BOOTSTRAP_RETRIES", "9", "bootstrap.retries", 9),
    ("RUNQY_BOOTSTRAP_RETRY_DELAY", "7s", "bootstrap.retry_delay", 7),
    ("RUNQY_GIT_SSH_KEY", "/keys/id", "git.ssh_key", "/keys/id"),
    ("RUNQY_GIT_TOKEN", "pat", "git.token", "pat"),
    ("RUNQY_DEPLOYMENT_DIR", "/srv", "deployment.dir", "/srv"),
    ("RUNQY_USE_SYSTEM_SITE_PACKAGES", "false", "deployment.use_system_site_packages", False),
    ("RUNQY_MAX_RETRY", "4", "retry.max_retry", 4),
    ("RUNQY_RECOVERY_ENABLED", "false", "recovery.enabled", False),
    ("RUNQY_RECOVERY_MAX_RESTARTS", "6", "recovery.max_restarts", 6),
    ("RUNQY_RECOVERY_INITIAL_DELAY", "2s", "recovery.initial_delay", 2),
    ("RUNQY_RECOVERY_MAX_DELAY", "10m", "recovery.max_delay", 600),
    ("RUNQY_RECOVERY_COOLDOWN", "20m", "recovery.cooldown_period", 1200),
]


@pytest.mark.parametrize(("variable", "text", "key", "value"), DOCUMENTED_VARIABLES)
def test_a_documented_variable_takes_priority_over_the_file(
    desk: Desk, variable: str, text: str, key: str, value: object
) -> None:
    desk.write("""\
        server: {url: "http://localhost:8081", api_key: k}
        worker: {queue: simple, concurrency: 2, shutdown_timeout: 8s}
        bootstrap: {retries: 1, retry_delay: 1s}
        git: {ssh_key: /other, token: other}
        deployment: {dir: /other, use_system_site_packages: true}
        retry: {max_retry: 1}
        recovery: {enabled: true, max_restarts: 1, initial_delay: 1s, max_delay: 5m, cooldown_period: 1m}
    """)
    loaded = desk.load(environ={variable: text})
    assert value_of(loaded.config, key) == value
    assert loaded.origins[key] == variable


def test_no_file_is_needed_when_variables_suffice(desk: Desk) -> None:
    config = load_config(environ={variable: text for variable, text, _, _ in DOCUMENTED_VARIABLES})
    assert config.queues == ("inference", "reports.high")
    assert config.server.api_key == "secret"


def test_every_setting_but_the_single_queue_has_a_variable() -> None:
    from runqy_worker.config.catalog import SETTINGS  # noqa: PLC0415 - only this test looks at the whole model

    assert [key for key, entry in SETTINGS.items() if not entry.setting.env] == ["worker.queue"]
    assert len(VARIABLES) == sum(len(entry.setting.env) for entry in SETTINGS.values())
