from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.deployment.answer_parser import parse_registration
from runqy_worker.domain.errors import RegistrationError
from runqy_worker.domain.launch import Mode

COMPLETE: dict[str, Any] = {
    "redis": {"addr": "redis.example.com:6379", "password": "hunter2hunter2", "db": 0, "use_tls": True},
    "queue": {"name": "inference", "priority": 6},
    "sub_queues": [{"name": "inference.high", "priority": 9}, {"name": "inference.low", "priority": 3}],
    "deployment": {
        "git_url": "https://github.com/example/inference.git",
        "branch": "main",
        "code_path": "src/tasks",
        "startup_cmd": "python main.py",
        "env_vars": {"MODEL_PATH": "/models/gpt"},
        "startup_timeout_secs": 120,
        "mode": "one_shot",
        "redis_storage": False,
        "vaults": ["api-keys"],
    },
    "vaults": {"OPENAI_API_KEY": "sk-very-secret"},
    "git_token": "ghp_very_secret",
}


def answer(**changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(COMPLETE)
    for path, value in changes.items():
        *above, last = path.split("__")
        target = document
        for key in above:
            target = target[key]
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return document


def problems(document: object, queue: str = "inference") -> str:
    with pytest.raises(RegistrationError) as caught:
        parse_registration(document, queue=queue)
    assert not caught.value.retryable
    return str(caught.value)


def test_everything_in_a_complete_answer_is_taken_over() -> None:
    found = parse_registration(COMPLETE, queue="inference")
    assert (found.redis.addr, found.redis.use_tls, found.redis.db) == ("redis.example.com:6379", True, 0)
    assert found.parent == "inference"
    assert found.weights == {"inference.high": 9, "inference.low": 3}
    assert found.deployment.mode is Mode.ONE_SHOT
    assert found.deployment.startup_timeout == 120
    assert found.deployment.redis_storage is False
    assert found.deployment.env_vars == {"MODEL_PATH": "/models/gpt"}
    assert found.vaults == {"OPENAI_API_KEY": "sk-very-secret"}
    assert found.git_token == "ghp_very_secret"


def test_secrets_do_not_show_in_the_text_form() -> None:
    shown = repr(parse_registration(COMPLETE, queue="inference"))
    assert "hunter2" not in shown
    assert "very" not in shown


def test_what_may_be_missing_has_the_documented_default() -> None:
    document = answer(
        deployment__branch=...,
        deployment__code_path=...,
        deployment__env_vars=...,
        deployment__startup_timeout_secs=...,
        deployment__mode=...,
        deployment__redis_storage=...,
        deployment__vaults=...,
        vaults=...,
        git_token=...,
        redis__db=...,
        redis__password=...,
        redis__use_tls=...,
    )
    found = parse_registration(document, queue="inference")
    assert found.deployment.branch == ""
    assert found.deployment.mode is Mode.LONG_RUNNING
    assert found.deployment.startup_timeout == 300
    assert found.deployment.redis_storage is True
    assert found.redis.password == ""


@pytest.mark.parametrize("nothing", [..., None, []])
def test_without_sub_queues_the_queue_itself_is_served(nothing: object) -> None:
    found = parse_registration(answer(sub_queues=nothing), queue="inference")
    assert found.weights == {"inference": 6}


def test_a_priority_below_one_counts_as_one() -> None:
    found = parse_registration(answer(sub_queues=[{"name": "inference.high", "priority": 0}]), queue="inference")
    assert found.weights == {"inference.high": 1}


@pytest.mark.parametrize("asked", ["inference.high", "inference:high"])
def test_one_sub_queue_is_asked_for_and_only_that_is_served(asked: str) -> None:
    found = parse_registration(answer(queue__name=asked), queue=asked)
    assert found.weights == {"inference.high": 9}
    assert found.parent == "inference"


def test_the_older_separator_is_kept_as_the_server_writes_it() -> None:
    found = parse_registration(answer(sub_queues=[{"name": "inference:high", "priority": 9}]), queue="inference")
    assert found.weights == {"inference:high": 9}


def test_all_missing_fields_are_named_at_once() -> None:
    text = problems({})
    for key in ("redis.addr", "queue.name", "deployment.git_url", "deployment.startup_cmd"):
        assert f"{key} is missing" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"redis__db": "0"}, "redis.db is text, expected a whole number"),
        ({"redis__db": True}, "redis.db is true or false, expected a whole number"),
        ({"redis__db": -1}, "redis.db is -1, expected 0 or more"),
        ({"redis__use_tls": "yes"}, "redis.use_tls is text, expected true or false"),
        ({"redis": []}, "redis is a list, expected an object"),
        ({"sub_queues": [7]}, "sub_queues[0] is not an object"),
        ({"sub_queues": [{"priority": 1}]}, "sub_queues[0].name is missing"),
        ({"queue__name": "no spaces"}, "queue.name is 'no spaces'"),
        ({"deployment__startup_cmd": ""}, "deployment.startup_cmd is empty"),
        ({"deployment__mode": "batch"}, "deployment.mode is 'batch', expected one of long_running, one_shot"),
        ({"deployment__env_vars": {"N": 1}}, "deployment.env_vars.N is a whole number, expected text"),
        ({"deployment__env_vars": {"A-B": "1"}}, "deployment.env_vars has the name 'A-B'"),
        ({"deployment__vaults": [1]}, "deployment.vaults[0] is not text"),
        ({"vaults": {"KEY": "a\0b"}}, "vaults.KEY contains a NUL byte"),
        ({"vaults": {"KEY": ["sk-very-secret"]}}, "vaults.KEY is a list, expected text"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_expected(changes: dict[str, Any], said: str) -> None:
    text = problems(answer(**changes))
    assert said in text
    assert "very-secret" not in text


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_an_answer_that_is_no_object_is_refused(document: object) -> None:
    assert "expected an object" in problems(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(COMPLETE)), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(COMPLETE)))
def test_no_answer_is_met_with_anything_but_a_registration_or_its_error(value: object, key: str) -> None:
    document = answer(**{key: value})
    with contextlib.suppress(RegistrationError):
        parse_registration(document, queue="inference")
