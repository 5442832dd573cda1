"""What the role's variables become."""

from __future__ import annotations

from typing import Any

from ansible_collections.runqy.worker.plugins.filter.instances import complete, limits, overlay, quoted, secrets

KEY = {"name": "deploy", "content": "PRIVATE\n", "known_hosts": "host key"}


def _one(
    given: dict[str, Any], credentials: dict[str, str] | None = None, keys: tuple[dict[str, str], ...] = ()
) -> Any:
    (made,) = complete([{"name": "inference", **given}], credentials or {}, keys)
    return made


def _secrets(
    given: dict[str, Any], credentials: dict[str, str] | None = None, keys: tuple[dict[str, str], ...] = ()
) -> Any:
    return {
        each["path"].rpartition(".")[2]: each["content"]
        for each in secrets([{"name": "inference", **given}], credentials or {}, keys)
    }


def test_a_name_is_enough() -> None:
    assert _one({}) == {
        "name": "inference",
        "unit": "runqy-worker@inference.service",
        "state": "started",
        "enabled": True,
        "settings": {"worker": {"queue": "inference"}},
        "environment": {},
        "credentials": [],
        "drop_in": [],
        "cuda": False,
        "user": "",
        "group": "",
    }


def test_several_queues_and_free_settings_go_into_the_settings() -> None:
    made = _one(
        {"queues": ["a", "b"], "concurrency": 4, "config": {"worker": {"concurrency": 8}, "log": {"level": "debug"}}}
    )
    assert made["settings"] == {"worker": {"queues": ["a", "b"], "concurrency": 8}, "log": {"level": "debug"}}


def test_a_stopped_instance_is_not_enabled_unless_that_is_asked_for() -> None:
    assert not _one({"state": "stopped"})["enabled"]
    assert _one({"state": "stopped", "enabled": True})["enabled"]


def test_the_only_git_key_is_everybodys() -> None:
    assert _secrets({}, keys=(KEY,)) == {"ssh-key": "PRIVATE\n", "known-hosts": "host key\n"}
    assert _secrets({"git_key": ""}, keys=(KEY,)) == {}


def test_of_several_git_keys_one_must_be_chosen() -> None:
    keys = (KEY, {"name": "other", "content": "OTHER"})
    assert _secrets({}, keys=keys) == {}
    assert _secrets({"git_key": "other"}, keys=keys) == {"ssh-key": "OTHER\n"}


def test_an_instances_own_secrets_win_and_empty_ones_do_not_count() -> None:
    shared = {"api_key": "shared\n", "git_token": "shared", "redis_password": ""}
    assert _secrets({"credentials": {"git_token": "own"}}, shared) == {"api-key": "shared", "git-token": "own"}


def test_what_is_looped_over_has_the_names_of_secrets_only() -> None:
    made = _one({"credentials": {"git_token": "s3cret"}}, {"api_key": "s3cret"}, (KEY,))
    assert made["credentials"] == ["api-key", "git-token", "ssh-key", "known-hosts"]
    assert "s3cret" not in str(made)
    assert "PRIVATE" not in str(made)


def test_an_absent_instance_has_no_secrets() -> None:
    assert _secrets({"state": "absent"}, {"api_key": "shared"}) == {}


def test_gpus_are_chosen_by_a_variable_and_need_the_device() -> None:
    made = _one({"device": "cuda", "gpus": [0, "GPU-1"], "environment": {"DEBUG": True, "N": 1}})
    assert made["cuda"]
    assert made["environment"] == {"CUDA_VISIBLE_DEVICES": "0,GPU-1", "DEBUG": "true", "N": "1"}


def test_limits_and_user_go_into_the_drop_in() -> None:
    made = _one({"memory_max": "24G", "cpu_quota": "400%", "user": "ml"})
    assert made["drop_in"] == ["MemoryMax=24G", "CPUQuota=400%", "User=ml", "Group=ml"]
    assert limits({"tasks_max": 10}) == ["TasksMax=10"]


def test_settings_that_are_set_to_nothing_are_left_out() -> None:
    assert overlay({"server": {"url": ""}, "log": {"level": "info"}}, {"log": {"level": None}}) == {}


def test_values_of_variables_are_quoted_as_systemd_reads_them() -> None:
    assert quoted("GPU-1,GPU-2") == "GPU-1,GPU-2"
    assert quoted("") == '""'
    assert quoted('say "$x" \\') == '"say \\"\\$x\\" \\\\"'
