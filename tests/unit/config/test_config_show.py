from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest

from runqy_worker.cli import config_show
from runqy_worker.config.catalog import SECTIONS, SETTINGS, value_of

if TYPE_CHECKING:
    from unit.config.conftest import Desk

EVERYTHING = """\
server: {url: "http://localhost:8081", api_key: hunter2, proxy: "http://u:hunter2@proxy:1"}
worker: {queues: [a, "b:high"], concurrency: 3, shutdown_timeout: 90s}
deployment: {dir: '/srv/$${x}"y', extra_index_urls: ["https://h/simple"]}
process: {max_line: 10MB, max_rss: 1.5GiB}
lifecycle: {ttl_completed: 500ms}
redis: {password_file: /run/password, db: 0, tls: true}
"""


def show(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    config_show.configure(parser)
    args = parser.parse_args(["show", *arguments])
    status: int = args.run(args)
    return status


@pytest.fixture(autouse=True)
def no_variables(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def test_the_settings_in_effect_are_shown_with_secrets_masked(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(EVERYTHING)
    assert show("--config", str(desk.main)) == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    lines = [line.strip() for line in shown.splitlines()]
    for line in (
        'api_key: "********"',
        'proxy: "http://********@proxy:1"',
        'queues: ["a", "b:high"]',
        "concurrency: 3",
        "shutdown_timeout: 1m30s",
        "max_line: 10MB",
        "max_rss: 1536MiB",
        "ttl_completed: 500ms",
        "ttl_archived: null",
        "tls: true",
        'password: "********"',
        'password_file: "/run/password"',
        'token: ""',
        "max_retry: 3",
    ):
        assert line in lines
    assert [line[:-1] for line in shown.splitlines() if not line.startswith(" ")] == list(SECTIONS)


def test_what_is_shown_loads_to_the_same_settings(desk: Desk) -> None:
    first = desk.load(EVERYTHING, check_files=False)
    second = desk.load(config_show.as_yaml(first, origin=True), check_files=False)
    different = {key for key in SETTINGS if value_of(first.config, key) != value_of(second.config, key)}
    assert different == {"server.api_key", "server.proxy"}


def test_each_line_says_where_it_came_from(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.write(EVERYTHING)
    monkeypatch.setenv("RUNQY_CONCURRENCY", "5")
    assert show("--origin") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert 'url: "http://localhost:8081"  # config.yml:1' in lines
    assert "concurrency: 5  # RUNQY_CONCURRENCY" in lines
    assert "max_retry: 3  # default" in lines
    assert 'password: "********"  # /run/password (config.yml:6)' in lines


def test_json(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(EVERYTHING)
    assert show("--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["worker"]["shutdown_timeout"] == 90
    assert shown["worker"]["queues"] == ["a", "b:high"]
    assert shown["server"]["api_key"] == "********"
    assert shown["lifecycle"]["ttl_archived"] is None


def test_json_with_origins(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(EVERYTHING)
    assert show("--json", "--origin") == 0
    assert json.loads(capsys.readouterr().out)["worker"]["concurrency"] == {"value": 3, "origin": "config.yml:2"}


def test_an_instance_is_shown_with_its_fragment(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(EVERYTHING)
    desk.write("worker: {concurrency: 9}", "instances/gpu.yml")
    assert show("--instance", "gpu", "--origin") == 0
    assert "concurrency: 9  # instances/gpu.yml:1" in capsys.readouterr().out


def test_a_configuration_with_problems_is_not_shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write("worker: {queue: a, concurrency: x}")
    assert show() == 78
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 'config.yml:1: worker.concurrency: found "x"' in captured.err


def test_warnings_go_to_stderr(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(EVERYTHING + "old: {}\n")
    assert show("--allow-unknown") == 0
    assert "warning: config.yml:7: the section old is not known" in capsys.readouterr().err


def test_an_instance_that_is_not_there_is_an_error(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(EVERYTHING)
    assert show("--config", str(desk.main), "--instance", "nope") == 78
    assert f"there is no {desk.root}/instances/nope.yml; instances there: none" in capsys.readouterr().err


def test_a_credential_of_the_unit_can_be_promised(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write("server: {url: 'http://localhost:8081'}\nworker: {queue: a}\n")
    assert show("--config", str(desk.main)) == 78
    assert show("--config", str(desk.main), "--origin", "--credential", "api-key") == 0
    assert 'api_key: "********"  # credential api-key' in capsys.readouterr().out
