"""What somebody meets who has just installed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runqy_worker.cli.main import main


@pytest.fixture(autouse=True)
def _empty_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("runqy_worker.config.loading.DEFAULT_PATH", tmp_path / "etc" / "config.yml")


@pytest.mark.parametrize("argv", [[], ["run"], ["validate"], ["-validate"], ["config", "show"]])
def test_without_a_configuration_it_says_what_is_missing_and_where_it_looked(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 78
    said = capsys.readouterr().err
    assert "worker.queue: missing" in said
    assert "no configuration file was found: looked for ./config.yml, else /etc/runqy-worker/config.yml" in said


def test_a_file_that_is_there_is_not_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("config.yml").write_text("worker: {queue: jobs}\n")
    assert main(["validate"]) == 78
    assert "no configuration file" not in capsys.readouterr().err
    assert main(["-config", "absent.yml"]) == 78
    said = capsys.readouterr().err
    assert "absent.yml: cannot be read" in said
    assert "no configuration file" not in said


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--concurrency", "0"], "--concurrency: found '0', expected a whole number, 1 or more"),
        (["--log-level", "loud"], "--log-level: invalid choice: 'loud'"),
        (["--log-format", "xml"], "--log-format: invalid choice: 'xml'"),
        (["queue", "ls", "--redis", "here"], "--redis: found 'here', expected host:port"),
    ],
)
def test_a_wrong_value_of_a_flag_is_named_with_the_flag(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 64
    assert said in capsys.readouterr().err
