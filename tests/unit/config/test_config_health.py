"""Where health may be asked for, and with which token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.config.addresses import listen_address
from runqy_worker.domain.errors import ConfigError

if TYPE_CHECKING:
    from unit.config.conftest import Desk

NEEDED = "server: {url: 'http://localhost:8081', api_key: k}\nworker: {queue: a}\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("unix:/run/x/health.sock", "/run/x/health.sock"),
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9464", ("::1", 9464)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_an_address_says_where_to_listen(desk: Desk, text: str, place: object) -> None:
    assert listen_address(text) == place
    assert desk.load(f"{NEEDED}health: {{address: '{text}'}}").config.health.address == text


@pytest.mark.parametrize("text", ["", "off"])
def test_it_may_be_left_to_the_worker_or_switched_off(desk: Desk, text: str) -> None:
    assert desk.load(f"{NEEDED}health: {{address: '{text}'}}").config.health.address == text


@pytest.mark.parametrize(
    "text",
    ["9464", ":9464", "::1:9464", "unix:", "unix:health.sock", "/run/health.sock", "localhost:65536", "on", "a b:1"],
)
def test_what_is_no_address_is_named_with_what_was_expected(desk: Desk, text: str) -> None:
    assert listen_address(text) is None
    expected = rf'config\.yml:3: health\.address: found "{text}", expected unix:/absolute/path, host:port \(port 0: any'
    with pytest.raises(ConfigError, match=expected):
        desk.load(f"{NEEDED}health: {{address: '{text}'}}")


@pytest.mark.parametrize("token", ["grüße", " xyzzy", "xy\tzzy"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(desk: Desk, token: str) -> None:
    with pytest.raises(ConfigError, match=r"health\.token: found \*+, expected printable ASCII") as caught:
        desk.load(f'{NEEDED}health: {{token: "{token}"}}')
    assert token.strip() not in str(caught.value)
