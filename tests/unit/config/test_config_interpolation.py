from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.config.interpolation import MalformedReferenceError, escape, interpolate

if TYPE_CHECKING:
    from unit.config.conftest import Desk

VARIABLES = {"HOST": "example.com", "EMPTY": "", "N": "4", "LIST": "a,b.high"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://${HOST}:1", "http://example.com:1"),
        ("${HOST}${N}", "example.com4"),
        ("${NOPE:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${HOST:-fallback}", "example.com"),
        ("${NOPE:-}", ""),
        ("${NOPE:-a:-b}", "a:-b"),
        ("[${EMPTY}]", "[]"),
        ("$${HOST}", "${HOST}"),
        ("$HOST $ $$ {HOST}", "$HOST $ $$ {HOST}"),
    ],
)
def test_references_are_replaced(text: str, expected: str) -> None:
    assert interpolate(text, VARIABLES) == expected


@pytest.mark.parametrize("text", ["${", "${HOST", "${}", "${1X}", "${HOST-x}", "${HOST:x}", "${A B}", "${X:-${HOST}}"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(MalformedReferenceError):
        interpolate(text, VARIABLES)


@given(st.text(alphabet="$${}HOST:-x"))
def test_an_escaped_text_stays_as_it_is(text: str) -> None:
    assert interpolate(escape(text), {}) == text


def test_every_kind_of_value_can_be_a_reference(desk: Desk, enough: dict[str, str]) -> None:
    config = desk.load(
        """\
        server: {url: "https://${HOST}"}
        worker:
          queues: ["${NOPE:-c}", d]
          concurrency: ${N}
          shutdown_timeout: ${NOPE:-1m}
        process: {max_line: "${NOPE:-1MiB}"}
        redis: {sentinel_addrs: "${HOST}:1,${HOST}:2", sentinel_master: m}
        deployment: {dir: '/srv/$${literal}'}
        """,
        {**VARIABLES, "RUNQY_API_KEY": "k"},
    ).config
    assert config.server.url == "https://example.com"
    assert config.queues == ("c", "d")
    assert (config.worker.concurrency, config.worker.shutdown_timeout, config.process.max_line) == (4, 60, 1024**2)
    assert config.redis.sentinel_addrs == ("example.com:1", "example.com:2")
    assert config.deployment.dir == "/srv/${literal}"


def test_a_reference_can_give_a_whole_list(desk: Desk, enough: dict[str, str]) -> None:
    del enough["RUNQY_QUEUES"]
    assert desk.load("worker:\n  queues: ${LIST}\n", {**enough, **VARIABLES}).config.queues == ("a", "b.high")


def test_an_undefined_variable_names_the_place_and_the_variable(desk: Desk, enough: dict[str, str]) -> None:
    assert desk.problems("git:\n  token: ${GIT_PAT}\n", enough) == [
        (
            "config.yml:2: git.token: found ${GIT_PAT}, but the variable GIT_PAT is not set; "
            "expected it in the environment, or a default: ${GIT_PAT:-...}"
        )
    ]


def test_a_malformed_reference_names_the_place(desk: Desk, enough: dict[str, str]) -> None:
    assert desk.problems("deployment:\n  dir: '/srv/${HOST'\n", enough) == [
        (
            'config.yml:2: deployment.dir: found "${HOST", expected a reference like ${NAME} or ${NAME:-default}; '
            "write $${ for a literal ${"
        )
    ]


def test_variables_themselves_are_not_interpolated(desk: Desk, enough: dict[str, str]) -> None:
    assert desk.load(environ={**enough, "RUNQY_API_KEY": "a${HOST}b"}).config.server.api_key == "a${HOST}b"
