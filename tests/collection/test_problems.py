"""Wrong variables are found before anything is touched, and the right name is told."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.runqy.worker.plugins.filter.misfits import misfits
from ansible_collections.runqy.worker.plugins.filter.problems import problems
from collection.files import DEFAULTS, OPTIONS


def _problems(**given: Any) -> list[str]:
    return problems({f"runqy_worker_{name}": value for name, value in given.items()}, OPTIONS)


def _misfits(**given: Any) -> list[str]:
    return misfits({**{name.removeprefix("runqy_worker_"): value for name, value in DEFAULTS.items()}, **given})


def test_the_defaults_are_right() -> None:
    assert problems(DEFAULTS, OPTIONS) == []
    assert _misfits() == []


def test_everything_in_the_first_example_is_right() -> None:
    example = """
    instances:
      - { name: inference, device: cuda, gpus: [0], concurrency: 2, memory_max: 24G }
      - { name: inference-low, queues: [inference.low], device: cpu }
      - { name: billing, state: absent }
    git_keys: [ { name: deploy, content: "x", known_hosts: "..." } ]
    """
    given = yaml.safe_load(example)
    assert _problems(**given) == []
    assert _misfits(**given) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"instnces": []}, "runqy_worker_instnces: there is no such variable; did you mean runqy_worker_instances?"),
        (
            {"instances": [{"name": "a", "memmory_max": "1G"}]},
            "runqy_worker_instances[a]: there is no key 'memmory_max'; did you mean memory_max?",
        ),
        (
            {"instances": [{"name": "a", "state": "startd"}]},
            (
                "runqy_worker_instances[a].state: found 'startd', "
                "expected one of started, stopped, absent; did you mean started?"
            ),
        ),
        ({"instances": [{"state": "started"}]}, "runqy_worker_instances[0]: 'name' is missing, expected a text"),
        ({"instances": {"name": "a"}}, "runqy_worker_instances: found a mapping, expected a list"),
        (
            {"instances": [{"name": "a", "concurrency": "many"}]},
            "runqy_worker_instances[a].concurrency: found 'many', expected a whole number",
        ),
        (
            {"instances": [{"name": "a", "credentials": {"apikey": "s3cret"}}]},
            "runqy_worker_instances[a].credentials: there is no key 'apikey'; did you mean api_key?",
        ),
        ({"no_log": "perhaps"}, "runqy_worker_no_log: found 'perhaps', expected true or false"),
    ],
)
def test_what_a_spec_forbids(given: dict[str, Any], told: str) -> None:
    assert _problems(**given) == [told]


def test_all_problems_are_told_at_once_and_no_secret_is() -> None:
    told = _problems(api_key=["s3cret"], instnces=1, git_keys=[{"content": "s3cret"}])
    assert len(told) == 3
    assert "s3cret" not in "".join(told)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"instances": [{"name": "a"}, {"name": "a"}]}, "runqy_worker_instances: a is there twice"),
        (
            {"instances": [{"name": "a", "memory_max": "24 gigs"}]},
            "runqy_worker_instances[a].memory_max: found '24 gigs', expected a size such as 24G, or 50%",
        ),
        (
            {"instances": [{"name": "a", "cpu_quota": 400}]},
            "runqy_worker_instances[a].cpu_quota: found 400, expected percent of one processor such as 400%",
        ),
        (
            {"instances": [{"name": "a", "gpus": [0]}]},
            "runqy_worker_instances[a]: found gpus without device: cuda, expected both",
        ),
        (
            {"instances": [{"name": "a", "git_key": "x"}]},
            "runqy_worker_instances[a].git_key: found 'x', expected one of runqy_worker_git_keys (none)",
        ),
        (
            {"instances": [{"name": "a", "environment": {"A-B": 1}}]},
            "runqy_worker_instances[a].environment: found 'A-B', expected a name of letters, digits and _",
        ),
        (
            {"config": {"redis": {"password": "s3cret"}}},
            "runqy_worker_config: redis.password is a secret, expected it in runqy_worker_credentials.redis_password",
        ),
        (
            {"wheel": "https://x/a.whl"},
            "runqy_worker_wheel_checksum: is empty, expected sha256:... of what the URL leads to",
        ),
        (
            {"deb": "https://x/runqy-worker_0.1.0_amd64.deb"},
            "runqy_worker_deb_checksum: is empty, expected sha256:... of what the URL leads to",
        ),
        (
            {"serial": ["1", "a few"]},
            "runqy_worker_serial: found 'a few', expected a number of hosts, or a part of them such as 25%",
        ),
        (
            {"server_url": "https://x", "instances": [{"name": "a"}, {"name": "b", "state": "absent"}]},
            "runqy_worker_instances[a]: has no key for https://x, expected one in runqy_worker_api_key",
        ),
        ({"deb": "worker.deb"}, "runqy_worker_deb: found 'worker.deb', expected NAME_VERSION_ARCHITECTURE.deb"),
        ({"apt_source": {"uris": "https://x"}}, "runqy_worker_apt_source: 'suites' is missing, expected a text"),
    ],
)
def test_what_does_not_fit_together(given: dict[str, Any], told: str) -> None:
    assert _misfits(**given) == [told]


def test_a_number_of_hosts_is_a_batch_as_well() -> None:
    assert _misfits(serial=5) == []


@pytest.mark.parametrize(
    "given",
    [
        {"credentials": {"api_key": "s3cret"}},
        {"unlisted_credentials": "keep"},
        {"instances": [{"name": "a", "credentials": {"api_key": "s3cret"}}]},
        {"instances": [{"name": "a", "config": {"server": {"url": ""}}}]},
    ],
)
def test_a_key_may_come_from_several_places(given: dict[str, Any]) -> None:
    assert _misfits(**{"server_url": "https://x", "instances": [{"name": "a"}], **given}) == []


def test_a_variable_that_was_left_empty_is_told() -> None:
    assert _problems(instances=None) == [
        "runqy_worker_instances: is empty, expected a list; leave it out for the default"
    ]


@pytest.mark.parametrize("name", ["", ".hidden", "a b", "a/b", "x" * 65])
def test_names_that_no_unit_can_have(name: str) -> None:
    (told,) = _misfits(instances=[{"name": name}])
    assert "expected 1 to 64 letters" in told
