"""Keys, options, errors, priorities and scripts."""

from __future__ import annotations

import collections
import random

import hiredis
import pytest

from runqy_worker.backends.asynq.errors import OutOfMemoryError, Refusal, needs_reconnect, translate
from runqy_worker.backends.asynq.keys import QueueKeys, day_of, lookup_key
from runqy_worker.backends.asynq.options import RedisOptions, split_addr
from runqy_worker.backends.asynq.priorities import Priorities
from runqy_worker.backends.asynq.scripts import load, source_of
from runqy_worker.domain.errors import BackendAuthError, BackendError, BackendUnavailableError


def test_all_keys_of_a_queue_share_its_hash_tag() -> None:
    keys = QueueKeys("jobs.high")
    assert keys.pending == "asynq:{jobs.high}:pending"
    assert keys.task("x:1") == "asynq:{jobs.high}:t:x:1"
    assert keys.processed_on(day_of(1_700_000_000)) == "asynq:{jobs.high}:processed:2023-11-14"
    assert keys.failed_on("2023-11-14") == "asynq:{jobs.high}:failed:2023-11-14"
    assert keys.group("g1") == "asynq:{jobs.high}:g:g1"
    assert lookup_key("abc") == "asynq:t:abc"


def test_unique_keys_tell_nil_from_empty_payloads() -> None:
    keys = QueueKeys("q")
    assert keys.unique("t", None) == "asynq:{q}:unique:t:"
    assert keys.unique("t", b"") == "asynq:{q}:unique:t:d41d8cd98f00b204e9800998ecf8427e"


def test_options_never_show_passwords() -> None:
    options = RedisOptions(password="s3cret", sentinel_password="an0ther")
    assert "s3cret" not in repr(options)
    assert "an0ther" not in repr(options)


@pytest.mark.parametrize(
    ("addr", "expected"),
    [
        ("redis", ("redis", 6379)),
        ("redis:7000", ("redis", 7000)),
        ("[::1]:7000", ("::1", 7000)),
        ("[::1]", ("::1", 6379)),
        ("::1", ("::1", 6379)),
        (" 10.0.0.1:1 ", ("10.0.0.1", 1)),
    ],
)
def test_addresses_are_split(addr: str, expected: tuple[str, int]) -> None:
    assert split_addr(addr) == expected


@pytest.mark.parametrize("addr", ["", ":6379", "redis:port", "redis:99999", "redis:-1"])
def test_wrong_addresses_are_named(addr: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        split_addr(addr)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ConnectionRefusedError("refused"), BackendUnavailableError, ""),
        (ConnectionResetError("closed by the server"), BackendUnavailableError, ""),
        (TimeoutError(), BackendUnavailableError, "in time"),
        (TimeoutError(110, "Connection timed out"), BackendUnavailableError, "not reachable"),
        (OSError("no route"), BackendUnavailableError, ""),
        (hiredis.ProtocolError("?"), BackendUnavailableError, ""),
        (Refusal("READONLY You can't write against a read only replica."), BackendUnavailableError, "READONLY"),
        (Refusal("LOADING Redis is loading the dataset in memory"), BackendUnavailableError, "LOADING"),
        (Refusal("MASTERDOWN Link with MASTER is down"), BackendUnavailableError, "MASTERDOWN"),
        (Refusal("CLUSTERDOWN The cluster is down"), BackendUnavailableError, "CLUSTERDOWN"),
        (Refusal("TRYAGAIN Multiple keys request"), BackendUnavailableError, "TRYAGAIN"),
        (Refusal("OOM command not allowed when used memory > 'maxmemory'."), OutOfMemoryError, "OOM"),
        (Refusal("BUSY Redis is busy running a script"), BackendUnavailableError, "BUSY"),
        (Refusal("NOREPLICAS Not enough"), BackendUnavailableError, "NOREPLICAS"),
        (Refusal("MISCONF Errors writing"), BackendUnavailableError, "MISCONF"),
        (Refusal("UNBLOCKED force unblock"), BackendUnavailableError, "UNBLOCKED"),
        (Refusal("ERR max number of clients reached"), BackendUnavailableError, "BUSY"),
        (
            Refusal("ERR Error running script: @user_script:1: -OOM command not allowed"),
            OutOfMemoryError,
            "OOM",
        ),
        (Refusal("WRONGPASS invalid username-password pair or user is disabled."), BackendAuthError, "WRONGPASS"),
        (Refusal("ERR Client sent AUTH, but no password is set"), BackendAuthError, "WRONGPASS"),
        (Refusal("NOAUTH Authentication required."), BackendAuthError, "NOAUTH"),
        (Refusal("NOPERM this user has no permissions"), BackendAuthError, "NOPERM"),
        (Refusal("WRONGTYPE Operation"), BackendError, "ERR"),
        (Refusal("ERR unknown command 'X'"), BackendError, "ERR"),
    ],
)
def test_redis_errors_become_ours(error: Exception, kind: type[BackendError], code: str) -> None:
    ours = translate(error, "redis:1")
    assert type(ours) is kind
    assert "redis:1" in str(ours)
    assert (code in str(ours)) or code == "ERR"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("READONLY", True),
        ("NOREPLICAS", True),
        ("LOADING", True),
        ("NOAUTH", True),
        ("UNBLOCKED", True),
        ("OOM", False),
        ("BUSY", False),
    ],
)
def test_only_what_another_connection_may_heal_reconnects(code: str, expected: bool) -> None:
    assert needs_reconnect(code) is expected


def test_strict_order_is_by_weight() -> None:
    order = Priorities({"low": 1, "high": 9, "off": 0, "mid": 3}, strict=True, rng=random.Random(1))
    assert list(order.order()) == ["high", "mid", "low"]
    assert set(order.queues) == {"low", "high", "mid"}


def test_weighted_order_gives_each_queue_its_share_of_first_places() -> None:
    order = Priorities({"a": 6, "b": 3, "c": 1}, strict=False, rng=random.Random(1))
    first = collections.Counter(order.order()[0] for _ in range(20000))
    assert 0.58 < first["a"] / 20000 < 0.62
    assert 0.28 < first["b"] / 20000 < 0.32
    assert 0.08 < first["c"] / 20000 < 0.12
    assert sorted(order.order()) == ["a", "b", "c"]


def test_scripts_are_found_by_name_and_digest() -> None:
    script = load("claim")
    assert load("claim") is script
    assert source_of(script.sha).startswith(b"-- ")
    assert script.command(("k1", "k2"), (1, b"x")) == ("EVALSHA", script.sha, 2, "k1", "k2", 1, b"x")
