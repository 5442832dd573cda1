from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.deployment.checkout import clean_code_path
from runqy_worker.deployment.remote import Transport, parse_remote
from runqy_worker.domain.errors import DeploymentError


@pytest.mark.parametrize(
    ("given_url", "url", "origin", "username", "password"),
    [
        ("https://github.com/o/r.git", "https://github.com/o/r.git", "https://github.com", "", ""),
        ("https://me@host:8443/r", "https://host:8443/r", "https://host:8443", "me", ""),
        ("https://me:p%40ss@host/r", "https://host/r", "https://host", "me", "p@ss"),
        ("http://[::1]:80/r", "http://[::1]:80/r", "http://[::1]:80", "", ""),
    ],
)
def test_credentials_are_taken_out_of_http_addresses(
    given_url: str, url: str, origin: str, username: str, password: str
) -> None:
    remote = parse_remote(given_url)
    assert remote.transport is Transport.HTTP
    assert (remote.url, remote.origin, remote.username, remote.password) == (url, origin, username, password)


@pytest.mark.parametrize(
    ("given_url", "transport", "host"),
    [
        ("git@github.com:o/r.git", Transport.SSH, "github.com"),
        ("host:r.git", Transport.SSH, "host"),
        ("ssh://git@host:2222/r.git", Transport.SSH, "host"),
        ("git://host/r.git", Transport.GIT, "host"),
        ("file:///srv/r.git", Transport.LOCAL, ""),
        ("/srv/r.git", Transport.LOCAL, ""),
        ("/srv/my r.git", Transport.LOCAL, ""),
        ("./r", Transport.LOCAL, ""),
    ],
)
def test_transports_are_told_apart(given_url: str, transport: Transport, host: str) -> None:
    remote = parse_remote(given_url)
    assert (remote.transport, remote.host) == (transport, host)


def test_a_relative_path_becomes_absolute() -> None:
    assert parse_remote("./r").url == str(Path.cwd() / "r")


@pytest.mark.parametrize(
    "given_url",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-u",
        "ext::sh -c id",
        "fd::17",
        "https:///r",
        "ftp://host/r",
        "ssh://me:secretword@host/r",
        "https://host/a b",
        "/srv/a\tb",
        "http://host:port/r",
    ],
)
def test_addresses_that_git_must_not_get_are_refused(given_url: str) -> None:
    with pytest.raises(DeploymentError) as caught:
        parse_remote(given_url)
    assert not caught.value.retryable
    assert "secretword" not in str(caught.value)


def test_the_key_depends_on_the_address_but_not_on_the_credentials() -> None:
    assert parse_remote("https://a:b@host/r").key == parse_remote("https://host/r").key
    assert parse_remote("https://host/r").key != parse_remote("https://host/s").key


@given(st.text(max_size=40))
def test_no_text_is_met_with_anything_but_a_remote_or_its_error(text: str) -> None:
    try:
        remote = parse_remote(text)
    except DeploymentError:
        return
    assert not remote.url.startswith("-")
    assert "::" not in remote.url.split("/", maxsplit=1)[0]


@pytest.mark.parametrize(("given_path", "clean"), [("", ""), (".", ""), ("./a/b/", "a/b"), ("a//b", "a/b")])
def test_code_paths_are_put_into_one_form(given_path: str, clean: str) -> None:
    assert clean_code_path(given_path) == clean


@pytest.mark.parametrize("given_path", ["/etc", "../x", "a/../../x", ".git/hooks"])
def test_code_paths_that_lead_out_are_refused(given_path: str) -> None:
    with pytest.raises(DeploymentError, match="expected a folder inside the repository"):
        clean_code_path(given_path)
