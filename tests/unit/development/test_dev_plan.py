"""What `dev` makes of its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from runqy_worker.deployment.queues_file import read_queues_file
from runqy_worker.development.plan import make_plan
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.launch import Mode

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    directory = tmp_path / "Image Tasks"
    directory.mkdir()
    (directory / "main.py").write_text("")
    return directory


def test_a_directory_is_run_from_a_snapshot_of_it(code: Path, tmp_path: Path) -> None:
    plan = make_plan(str(code))
    assert plan.source == code
    assert plan.queue == "Image-Tasks"
    assert plan.home.parent == tmp_path / "cache" / "runqy-worker" / "dev"
    (tmp_path / "queues.yml").write_text(json.dumps(plan.definitions()))
    found = read_queues_file(tmp_path / "queues.yml", {}).find("Image-Tasks")
    assert found is not None
    assert [queue.name for queue in found[1]] == ["Image-Tasks.default"]
    deployment = found[0].deployment
    assert (deployment.git_url, deployment.branch) == (str(plan.home / "source"), "main")
    assert (deployment.startup_cmd, deployment.mode) == ("python main.py", Mode.LONG_RUNNING)
    assert deployment.redis_storage, "results can be looked at"


def test_the_same_code_finds_its_environments_again(code: Path) -> None:
    assert make_plan(str(code)).home == make_plan(f"{code}/../{code.name}").home
    assert make_plan(str(code)).home != make_plan(str(code), queue="other").home


def test_an_address_is_cloned_as_it_is() -> None:
    plan = make_plan("https://git.example.org/team/words.git", branch="next", mode="one_shot")
    assert (plan.source, plan.git_url, plan.branch) == (None, "https://git.example.org/team/words.git", "next")
    assert (plan.queue, plan.startup_cmd, plan.mode) == ("words", "python main.py", "one_shot")


def test_what_is_said_wins_over_guesses(code: Path) -> None:
    (code / "main.py").unlink()
    plan = make_plan(str(code), cmd="python serve.py", queue="q")
    assert (plan.startup_cmd, plan.queue) == ("python serve.py", "q")
    with pytest.raises(DeploymentError, match="--cmd"):
        make_plan(str(code))


def test_the_worker_is_configured_by_the_session_alone(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNQY_QUEUES", "production")
    config = make_plan(str(code), concurrency=3, log_level="debug").config("http://127.0.0.1:1", "key")
    assert config.queues == ("Image-Tasks",)
    assert (config.server.url, config.server.api_key) == ("http://127.0.0.1:1", "key")
    assert (config.worker.concurrency, config.log.level) == (3, "debug")


def test_a_broken_program_ends_the_session_unless_it_is_watched(code: Path) -> None:
    assert make_plan(str(code)).config("u", "k").bootstrap.give_up
    assert not make_plan(str(code), watch=True).config("u", "k").bootstrap.give_up
