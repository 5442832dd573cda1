"""Secrets from credentials and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.config.catalog import SECRETS, SETTINGS, value_of

if TYPE_CHECKING:
    from pathlib import Path

    from unit.config.conftest import Desk


@pytest.fixture
def no_key(enough: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in enough.items() if name != "RUNQY_API_KEY"}


def secret_file(desk: Desk, content: bytes = b"s3cret\n", mode: int = 0o600) -> Path:
    path = desk.root / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("api-key", "server.api_key"),
        ("git-token", "git.token"),
        ("redis-password", "redis.password"),
        ("index-password", "deployment.index_password"),
        ("sentinel-password", "redis.sentinel_password"),
    ],
)
def test_a_credential_gives_a_secret(desk: Desk, no_key: dict[str, str], name: str, key: str) -> None:
    desk.write("server: {api_key: from-the-file}")
    desk.write("s3cret\n", f"credentials/{name}")
    loaded = desk.load(environ={**no_key, "CREDENTIALS_DIRECTORY": str(desk.root / "credentials")})
    assert value_of(loaded.config, key) == "s3cret"
    assert loaded.origins[key] == f"credential {name}"


def test_a_credential_from_the_encrypted_store_wins_over_the_plain_one(desk: Desk, no_key: dict[str, str]) -> None:
    desk.write("plain", "credentials/api-key")
    path = desk.write("sealed", "credentials/api-key.encrypted")
    loaded = desk.load(environ={**no_key, "CREDENTIALS_DIRECTORY": str(path.parent)})
    assert loaded.config.server.api_key == "sealed"
    assert loaded.origins["server.api_key"] == "credential api-key.encrypted"
    assert loaded.warnings == ()


@pytest.mark.parametrize(("name", "key"), [("ssh-key", "git.ssh_key"), ("known-hosts", "git.known_hosts")])
def test_a_credential_gives_a_path(desk: Desk, enough: dict[str, str], name: str, key: str) -> None:
    path = desk.write("anything", f"credentials/{name}")
    loaded = desk.load(environ={**enough, "CREDENTIALS_DIRECTORY": str(path.parent)})
    assert value_of(loaded.config, key) == str(path)
    assert loaded.origins[key] == f"credential {name}"


def test_a_credential_loses_to_a_variable_and_wins_over_the_file(desk: Desk, no_key: dict[str, str]) -> None:
    path = desk.write("from-credential", "credentials/api-key")
    environ = {**no_key, "CREDENTIALS_DIRECTORY": str(path.parent)}
    desk.write(f"server: {{api_key_file: {secret_file(desk)}}}")
    assert desk.load(environ=environ).config.server.api_key == "from-credential"
    assert desk.load(environ={**environ, "RUNQY_API_KEY": "v"}).config.server.api_key == "v"


def test_a_file_gives_a_secret_without_its_line_break(desk: Desk, no_key: dict[str, str]) -> None:
    path = secret_file(desk)
    loaded = desk.load(f"server:\n  api_key_file: {path}\n", no_key)
    assert loaded.config.server.api_key == "s3cret"
    assert loaded.origins["server.api_key"] == f"{path} ({desk.main}:2)"
    assert loaded.secret_files == (path,)
    assert loaded.secrets == {"server.api_key"}
    assert loaded.warnings == ()


def test_a_file_can_be_named_by_a_variable(desk: Desk, no_key: dict[str, str]) -> None:
    loaded = desk.load("server: {api_key: other}", {**no_key, "RUNQY_API_KEY_FILE": str(secret_file(desk))})
    assert loaded.config.server.api_key == "s3cret"


def test_a_later_source_with_the_value_overrides_an_earlier_file(desk: Desk, no_key: dict[str, str]) -> None:
    desk.write("server: {api_key_file: /nowhere}")
    desk.write("server: {api_key: fresh}", "instances/a.yml")
    loaded = desk.load(environ=no_key, instance="a")
    assert loaded.config.server.api_key == "fresh"
    assert loaded.config.server.api_key_file == ""


def test_value_and_file_from_one_source_warn_and_the_file_wins(desk: Desk, no_key: dict[str, str]) -> None:
    loaded = desk.load(f"server:\n  api_key: other\n  api_key_file: {secret_file(desk)}\n", no_key)
    assert loaded.config.server.api_key == "s3cret"
    assert loaded.warnings == (f"{desk.main}:2: server.api_key is not used, since {desk.main}:3 names a file with it",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't be read (No such file or directory)"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"s3cret\xff", "is not UTF-8 text"),
        (b"s3cret" * 200_000, "is larger than 1 MiB"),
    ],
)
def test_a_file_that_gives_no_secret_is_a_problem(
    desk: Desk, no_key: dict[str, str], content: bytes | None, reason: str
) -> None:
    if content is not None:
        secret_file(desk, content)
    (problem,) = desk.problems("server: {api_key_file: key}", no_key)
    assert problem == f'config.yml:1: server.api_key_file: found "key", which {reason}, expected a file that holds it'


def test_an_empty_credential_is_a_problem(desk: Desk, no_key: dict[str, str]) -> None:
    path = desk.write("", "credentials/api-key")
    (problem,) = desk.problems(environ={**no_key, "CREDENTIALS_DIRECTORY": str(path.parent)})
    assert problem == (
        "credential api-key: server.api_key: found a credential which is empty, expected a text in one line"
    )


def test_a_missing_credentials_directory_is_a_problem(desk: Desk, enough: dict[str, str]) -> None:
    (problem,) = desk.problems(environ={**enough, "CREDENTIALS_DIRECTORY": "/nowhere"})
    assert problem.startswith('CREDENTIALS_DIRECTORY: "/nowhere" can\'t be read')


def test_a_misspelt_credential_warns(desk: Desk, enough: dict[str, str]) -> None:
    path = desk.write("x", "credentials/api_key")
    desk.write("x", "credentials/tls-certificate")
    loaded = desk.load(environ={**enough, "CREDENTIALS_DIRECTORY": str(path.parent)})
    assert loaded.warnings == ("credential api_key: is not used; did you mean api-key?",)


def test_a_secret_that_everyone_may_read_warns(desk: Desk, no_key: dict[str, str]) -> None:
    path = secret_file(desk, mode=0o644)
    loaded = desk.load("server: {api_key_file: key}", no_key)
    assert loaded.warnings == (
        f"{desk.main}:1: server.api_key_file: every user of this host may read {path.name} (mode 0644); make it 0600",
    )


def test_a_main_file_with_a_secret_that_everyone_may_read_warns(desk: Desk, no_key: dict[str, str]) -> None:
    desk.write("server: {api_key: k}").chmod(0o644)
    assert desk.load(environ=no_key).warnings == (
        f"{desk.main}: holds a secret and every user of this host may read it; make its mode 0640",
    )
    desk.write("server: {api_key: '${KEY}'}").chmod(0o644)
    assert desk.load(environ={**no_key, "KEY": "k"}).warnings == ()


def test_a_key_that_no_header_can_carry_is_refused(desk: Desk, no_key: dict[str, str]) -> None:
    secret_file(desk, b"two\nlines")
    (problem,) = desk.problems("server: {api_key_file: key}", no_key)
    assert "server.api_key: found ********, expected printable ASCII characters in one line" in problem


def test_without_looking_at_files_naming_one_is_enough(desk: Desk, no_key: dict[str, str]) -> None:
    loaded = desk.load("server: {api_key_file: /nowhere}", no_key, check_files=False)
    assert loaded.config.server.api_key == ""
    assert loaded.secrets == {"server.api_key"}


def test_without_looking_at_files_a_missing_value_is_still_a_problem(desk: Desk, no_key: dict[str, str]) -> None:
    (problem,) = desk.problems("server: {api_key_file: ''}", no_key, check_files=False)
    assert "server.api_key: missing" in problem


def test_a_credential_can_be_promised(desk: Desk, no_key: dict[str, str]) -> None:
    loaded = desk.load("", no_key, check_files=False, expected_credentials=("api-key",))
    assert loaded.origins["server.api_key"] == "credential api-key"
    assert loaded.secrets == {"server.api_key"}


def test_every_secret_has_a_file_and_a_credential() -> None:
    assert [entry.key for entry in SECRETS if entry.file_key not in SETTINGS or not entry.setting.credential] == []
