"""Which source wins, and that every value says where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runqy_worker.config.catalog import SETTINGS, value_of
from runqy_worker.config.loading import load_config, load_with_origins
from runqy_worker.config.model import Config

if TYPE_CHECKING:
    from unit.config.conftest import Desk

BASE = """\
server:
  url: http://localhost:8081
  api_key: k
worker:
  queue: inference
"""


def test_later_sources_win(desk: Desk) -> None:
    desk.write(BASE + "  concurrency: 2\n")
    instance = desk.write("worker:\n  concurrency: 3\n", "instances/gpu.yml")

    def concurrency(**more: object) -> tuple[int, str]:
        loaded = load_with_origins(desk.main, **{"environ": {}, **more})  # type: ignore[arg-type]  # by name
        return loaded.config.worker.concurrency, loaded.origins["worker.concurrency"]

    environ = {"RUNQY_CONCURRENCY": "4"}
    flags = {"worker.concurrency": "5"}
    assert concurrency() == (2, f"{desk.main}:6")
    assert concurrency(instance="gpu") == (3, f"{instance}:2")
    assert concurrency(instance="gpu", environ=environ) == (4, "RUNQY_CONCURRENCY")
    assert concurrency(instance="gpu", environ=environ, flags=flags) == (5, "--concurrency")


def test_defaults_come_first(desk: Desk) -> None:
    loaded = desk.load(BASE)
    assert loaded.origins["worker.concurrency"] == "default"
    assert loaded.config.worker.concurrency == 1


def test_every_setting_has_an_origin(desk: Desk) -> None:
    loaded = desk.load(BASE)
    assert list(loaded.origins) == list(SETTINGS)
    given = {key for key, origin in loaded.origins.items() if origin != "default"}
    assert given == {"server.url", "server.api_key", "worker.queue"}
    untouched = SETTINGS.keys() - given
    assert all(value_of(loaded.config, key) == value_of(Config(), key) for key in untouched)


def test_an_instance_overrides_one_queue_with_several(desk: Desk) -> None:
    desk.write(BASE)
    desk.write("worker:\n  queues: [reports.high, reports.low]\n", "instances/reports.yml")
    assert desk.load(instance="reports").config.queues == ("reports.high", "reports.low")


def test_a_flag_for_queues_overrides_the_single_queue_of_the_file(desk: Desk) -> None:
    loaded = desk.load(BASE, flags={"worker.queues": "a,b"})
    assert loaded.config.queues == ("a", "b")
    assert loaded.config.worker.queue == ""
    assert loaded.origins["worker.queues"] == "--queues"


def test_a_fragment_can_be_named_directly(desk: Desk) -> None:
    desk.write(BASE)
    fragment = desk.write("worker: {concurrency: 7}", "elsewhere/x.yml")
    assert desk.load(fragment=fragment).config.worker.concurrency == 7
    assert desk.load(fragment=fragment).files == (desk.main, fragment)


def test_an_empty_variable_counts_as_unset(desk: Desk) -> None:
    loaded = desk.load(BASE, {"RUNQY_QUEUES": "", "RUNQY_CONCURRENCY": "", "RUNQY_API_KEY": ""})
    assert loaded.config.queues == ("inference",)
    assert loaded.config.server.api_key == "k"


def test_a_key_without_a_value_counts_as_not_given(desk: Desk, enough: dict[str, str]) -> None:
    loaded = desk.load("worker:\n  queue:\n  concurrency: ~\ngit:\n", enough)
    assert loaded.origins["worker.concurrency"] == "default"
    assert loaded.config.queues == ("inference",)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "~"])
def test_an_empty_file_is_fine(desk: Desk, enough: dict[str, str], text: str) -> None:
    assert desk.load(text, enough).config.queues == ("inference",)


def test_a_byte_order_mark_is_skipped(desk: Desk) -> None:
    desk.main.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert desk.load().config.queues == ("inference",)


def test_the_current_directory_comes_before_the_installed_file(desk: Desk, enough: dict[str, str]) -> None:
    desk.write("worker: {concurrency: 3}", "etc/config.yml")
    assert load_config(environ=enough).worker.concurrency == 3
    desk.write("worker: {concurrency: 2}")
    assert load_config(environ=enough).worker.concurrency == 2
    assert load_with_origins(environ=enough).origins["worker.concurrency"] == "config.yml:1"


def test_an_instance_without_a_main_file_is_looked_for_beside_where_it_would_be(
    desk: Desk, enough: dict[str, str]
) -> None:
    desk.write("worker: {concurrency: 6}", "etc/instances/gpu.yml")
    assert load_config(environ=enough, instance="gpu").worker.concurrency == 6


def test_the_process_environment_is_the_default(
    desk: Desk, enough: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in enough.items():
        monkeypatch.setenv(name, value)
    assert load_config().queues == ("inference",)


def test_values_are_taken_as_they_were_written(desk: Desk) -> None:
    config = desk.load("""\
        server: {url: "http://localhost", api_key: 0123}
        worker: {queue: no, concurrency: "4"}
        deployment: {python: 3.10, dir: ~/code, use_system_site_packages: off}
        process: {max_line: 1M, standby: 2}
        lifecycle: {ttl_completed: 0, pending_timeout: 1d}
        log: {level: WARNING, task_lines: 5}
        redis: {db: 3, tls: "yes"}
    """).config
    assert config.server.api_key == "0123"
    assert config.queues == ("no",)
    assert config.worker.concurrency == 4
    assert config.deployment.python == "3.10"
    assert config.deployment.dir == str(Path("~/code").expanduser())
    assert config.deployment.use_system_site_packages is False
    assert (config.process.max_line, config.process.standby) == (1024**2, "2")
    assert (config.lifecycle.ttl_completed, config.lifecycle.ttl_archived) == (0, None)
    assert config.lifecycle.pending_timeout == 86400
    assert (config.log.level, config.log.task_lines) == ("warning", 5.0)
    assert (config.redis.db, config.redis.tls) == (3, True)


def test_a_list_may_be_one_text_with_commas(desk: Desk, enough: dict[str, str]) -> None:
    loaded = desk.load("deployment: {extra_index_urls: 'https://a/simple, https://b/simple,'}", enough)
    assert loaded.config.deployment.extra_index_urls == ("https://a/simple", "https://b/simple")


def test_anchors_and_merges_work(desk: Desk, enough: dict[str, str]) -> None:
    loaded = desk.load(
        """\
        git: &slow
          timeout: 1m
        server:
          <<: *slow
          ca_file: /ca.pem
        """,
        enough,
    )
    assert (loaded.config.git.timeout, loaded.config.server.timeout) == (60, 60)


def test_two_variables_for_one_setting_warn_when_they_differ(desk: Desk, enough: dict[str, str]) -> None:
    environ = {**enough, "RUNQY_RECOVERY_COOLDOWN": "1m", "RUNQY_RECOVERY_COOLDOWN_PERIOD": "2m"}
    loaded = desk.load(environ=environ)
    assert loaded.config.recovery.cooldown_period == 60
    assert [warning.partition(":")[0] for warning in loaded.warnings] == ["RUNQY_RECOVERY_COOLDOWN_PERIOD"]


def test_a_local_queues_file_replaces_the_server(desk: Desk) -> None:
    config = desk.load("local: {queues_file: queues.yml}\nworker: {queue: a}").config
    assert config.local.queues_file == "queues.yml"
    assert config.server.url == ""


def test_a_part_of_a_configuration_requires_nothing(desk: Desk) -> None:
    loaded = desk.load("redis: {addr: '${REDIS}'}\nworker: {concurrency: 2}", partial=True)
    assert loaded.config.queues == ()
    assert len(loaded.warnings) == 1
    assert "REDIS is not set" in loaded.warnings[0]


def test_a_secret_is_not_in_the_repr(desk: Desk) -> None:
    config = desk.load(BASE.replace("api_key: k", "api_key: hunter2")).config
    assert config.server.api_key == "hunter2"
    assert "hunter2" not in repr(config)
