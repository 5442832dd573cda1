from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runqy_worker.config.model import Config, LocalConfig, RedisConfig
from runqy_worker.deployment.local import LocalRegistrar
from runqy_worker.deployment.queues_file import _DEPLOYMENT_KEYS, _QUEUE_KEYS, read_queues_file
from runqy_worker.domain.errors import ConfigError
from runqy_worker.domain.events import Notice, Silent
from runqy_worker.domain.launch import Mode

INFERENCE = """
queues:
  inference:
    sub_queues:
      - {name: standard, priority: 3}
      - {name: premium, priority: 10}
    deployment:
      git_url: https://github.com/example/inference.git
      branch: main
      code_path: src
      startup_cmd: python main.py
      mode: one_shot
      startup_timeout_secs: 120
      redis_storage: true
      requirements_file: requirements/gpu.txt
      env_vars: {CUDA_VISIBLE_DEVICES: 0, PYTHON: 3.10, DEBUG: yes}
      git_token: vault://github/TOKEN
      vaults: [shared, inference-keys]
    input:
      - {name: prompt, type: [string]}
  simple:
    priority: 5
    mode: one_shot
    deployment:
      git_url: ./code
      startup_cmd: python main.py
vaults:
  github: {TOKEN: "${GITHUB_TOKEN}"}
  shared: {API_KEY: one, PRICE: "5$$"}
  inference-keys: {API_KEY: two}
"""


@pytest.fixture
def queues_file(tmp_path: Path) -> Path:
    path = tmp_path / "queues.yml"
    path.write_text(INFERENCE)
    return path


def config(path: Path) -> Config:
    return replace(Config(), local=LocalConfig(queues_file=str(path)), redis=RedisConfig(addr="127.0.0.1:6379", db=2))


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_queues_file(path, {})
    return [problem.replace(str(path), "FILE") for problem in caught.value.problems]


class Heard(Silent):
    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)


async def test_a_parent_gets_all_its_sub_queues_highest_priority_first(queues_file: Path) -> None:
    registrar = LocalRegistrar(config(queues_file), environ={"GITHUB_TOKEN": "ghp_1"})
    found = await registrar.register("inference")
    assert list(found.weights.items()) == [("inference.premium", 10), ("inference.standard", 3)]
    assert found.deployment.mode is Mode.ONE_SHOT
    assert found.deployment.env_vars == {"CUDA_VISIBLE_DEVICES": "0", "PYTHON": "3.10", "DEBUG": "yes"}
    assert found.deployment.redis_storage is True
    assert found.deployment.requirements_file == "requirements/gpu.txt"
    assert (found.redis.addr, found.redis.db) == ("127.0.0.1:6379", 2)


@pytest.mark.parametrize("asked", ["inference.premium", "inference:premium"])
async def test_a_sub_queue_gets_just_itself(queues_file: Path, asked: str) -> None:
    found = await LocalRegistrar(config(queues_file), environ={"GITHUB_TOKEN": "x"}).once(asked)
    assert found.weights == {"inference.premium": 10}
    assert found.parent == "inference"


async def test_later_vaults_win_and_variables_are_filled_in(queues_file: Path) -> None:
    found = await LocalRegistrar(config(queues_file), environ={"GITHUB_TOKEN": "ghp_1"}).register("inference")
    assert found.vaults == {"API_KEY": "two", "PRICE": "5$"}
    assert found.git_token == "ghp_1"


async def test_a_queue_without_sub_queues_has_the_default_one_and_the_servers_defaults(queues_file: Path) -> None:
    found = await LocalRegistrar(config(queues_file), environ={"GITHUB_TOKEN": "x"}).register("simple")
    assert found.weights == {"simple.default": 5}
    assert found.deployment.mode is Mode.ONE_SHOT
    assert found.deployment.startup_timeout == 300
    assert found.deployment.redis_storage is False
    assert found.deployment.git_url == str(queues_file.parent / "code")


async def test_an_unknown_queue_is_answered_with_the_known_ones(queues_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"queue 'other' is not defined, expected one of: inference, "):
        await LocalRegistrar(config(queues_file), environ={"GITHUB_TOKEN": "x"}).register("other")


async def test_redis_must_be_configured_locally(queues_file: Path) -> None:
    bare = replace(config(queues_file), redis=RedisConfig())
    with pytest.raises(ConfigError, match=r"redis.addr: is empty"):
        await LocalRegistrar(bare, environ={"GITHUB_TOKEN": "x"}).register("simple")


async def test_keys_of_newer_servers_are_left_out_with_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "queues.yml"
    path.write_text("queues:\n  a:\n    priority: 1\n    colour: red\n    deployment: {git_url: u, startup_cmd: c}\n")
    heard = Heard()
    await LocalRegistrar(config(path), listener=heard, environ={}).register("a")
    assert [notice.message for notice in heard.notices] == [
        f"{path}:4: queues.a.colour: is not known here and was left out"
    ]


def test_a_folder_of_files_is_read_as_one(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text(
            f"queues:\n  {name[0]}:\n    priority: 1\n    deployment: {{git_url: u, startup_cmd: c}}\n"
        )
    assert set(read_queues_file(tmp_path, {}).queues) == {"a", "b"}


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    text = """queues:
  bad.name:
    priority: 0
    deployment:
      git_url: ""
      startup_cmd: [python]
      mode: batch
      redis_storage: maybe
      startup_timeout_secs: -1
      vaults: [nowhere]
      git_token: ghp_plain
      env_vars: {A-B: 1}
  second:
    sub_queues: [{priority: 1}, {name: a.b, priority: high}]
"""
    found = problems(tmp_path / "queues.yml", text)
    token = "queues.bad.name.deployment.git_token"
    assert found == [
        "FILE:2: queues.bad.name: the name 'bad.name' is not usable, expected letters, digits, '_' and '-'",
        "FILE:10: queues.bad.name.deployment.vaults: the vault 'nowhere' is not defined (known: none are defined)",
        "FILE:3: queues.bad.name.priority: is '0', expected a whole number from 1",
        "FILE:7: queues.bad.name.deployment.mode: 'batch' is unknown, expected one of long_running, one_shot",
        "FILE:9: queues.bad.name.deployment.startup_timeout_secs: is '-1', expected a whole number from 0",
        "FILE:5: queues.bad.name.deployment.git_url: is empty, expected text",
        "FILE:6: queues.bad.name.deployment.startup_cmd: is a list, expected text",
        "FILE:12: queues.bad.name.deployment.env_vars.A-B: is no name for a variable, expected letters, digits and '_'",
        "FILE:8: queues.bad.name.deployment.redis_storage: is 'maybe', expected true or false",
        f"FILE:11: {token}: expected vault://NAME/KEY, so that the token itself stays out of the file",
        "FILE:13: queues.second.deployment: is missing, expected a mapping",
        "FILE:14: queues.second.sub_queues[0].name: is missing, expected text",
        "FILE:14: queues.second.sub_queues[1].name: 'a.b' is not usable, expected letters, digits, '_' and '-'",
        "FILE:14: queues.second.sub_queues[1].priority: is 'high', expected a whole number from 1",
        "FILE:13: queues.second.deployment.git_url: is missing, expected text",
        "FILE:13: queues.second.deployment.startup_cmd: is missing, expected text",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("queues: [", "is not valid YAML"),
        ("", "defines no queue"),
        ("queues: {}", "defines no queue"),
        ("- a", "is a list, expected a mapping"),
        ("queues:\n  a: {priority: 1}\n  a: {priority: 2}\n", "FILE:3: the key 'a' stands here again"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(problems(tmp_path / "queues.yml", text))


def test_a_missing_file_and_a_missing_variable_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        read_queues_file(tmp_path / "none.yml", {})
    text = "vaults: {v: {KEY: '${NOT_SET}'}}\nqueues: {}\n"
    assert "the variable NOT_SET is not set" in problems(tmp_path / "queues.yml", text)[0]


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    path = tmp_path / "queues.yml"
    path.write_text(
        "base: &base {git_url: u, startup_cmd: c, branch: main}\n"
        "queues:\n  a:\n    priority: 1\n    deployment: {<<: *base, branch: dev}\n"
    )
    spec = read_queues_file(path, {}).queues["a"].deployment
    assert (spec.git_url, spec.branch) == ("u", "dev")


PAGE = Path(__file__).parents[3] / "docs" / "queues-file.md"


def test_the_page_names_every_key_that_is_read() -> None:
    missing = [key for key in sorted(_QUEUE_KEYS | _DEPLOYMENT_KEYS) if f"`{key}`" not in PAGE.read_text()]
    assert missing == []


def test_the_example_of_the_page_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "queues.yml"
    path.write_text(PAGE.read_text().split("```yaml\n")[1].split("```")[0])
    found = read_queues_file(path, {"OPENAI_API_KEY": "sk", "GIT_TOKEN": "ghp"})
    assert found.remarks == ()
    assert [queue.name for queue in found.queues["inference"].sub_queues] == ["inference.high", "inference.low"]
    assert found.queues["inference"].git_token == "ghp"
    assert found.queues["reports"].deployment.git_url == str(tmp_path.resolve() / "reports")
