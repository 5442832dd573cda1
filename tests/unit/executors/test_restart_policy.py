"""When a crashed process is started again, and when no more."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.config.model import RecoveryConfig
from runqy_worker.executors.backoff import JITTER, RestartPolicy


def policy(**settings: object) -> RestartPolicy:
    return RestartPolicy(RecoveryConfig(**settings), random.Random(7))  # type: ignore[arg-type]


def test_delays_grow_by_the_factor_up_to_the_longest_with_jitter() -> None:
    restarts = policy(max_restarts=6, initial_delay=1, backoff_factor=2, max_delay=10)
    delays = [restarts.crashed(0) for _ in range(6)]
    for delay, expected in zip(delays, [1, 2, 4, 8, 10, 10], strict=True):
        assert delay == pytest.approx(expected, rel=JITTER)
    assert len(set(delays)) == 6
    assert restarts.crashed(0) is None


def test_time_without_a_crash_begins_a_new_series() -> None:
    restarts = policy(max_restarts=2, cooldown_period=600)
    assert restarts.crashed(0) is not None
    restarts.running(10)
    assert restarts.crashed(609) is not None
    assert restarts.restarts(609) == 2
    restarts.running(610)
    assert restarts.restarts(1209) == 2
    assert restarts.restarts(1210) == 0
    assert restarts.crashed(1210) is not None
    assert restarts.restarts(1210) == 1


def test_time_between_crashes_without_a_running_process_is_no_cool_down() -> None:
    restarts = policy(max_restarts=2, cooldown_period=10)
    restarts.running(0)
    assert [restarts.crashed(now) is None for now in (1, 100, 200)] == [False, False, True]


@pytest.mark.parametrize("settings", [{"enabled": False}, {"max_restarts": 0}])
def test_no_restart_when_there_shall_be_none(settings: dict[str, object]) -> None:
    assert policy(**settings).crashed(0) is None


def test_another_release_begins_a_new_series_and_a_charged_crash_counts_no_longer() -> None:
    restarts = policy(max_restarts=2)
    restarts.crashed(0)
    restarts.crashed(0)
    restarts.absolve()
    assert restarts.restarts(0) == 1
    restarts.forget()
    assert restarts.restarts(0) == 0
    restarts.absolve()
    assert restarts.restarts(0) == 0


@given(initial=st.floats(0, 1e3), factor=st.floats(1, 1e6), longest=st.floats(0, 1e4), count=st.integers(1, 300))
def test_delay_is_never_longer_than_the_longest_and_its_jitter(
    initial: float, factor: float, longest: float, count: int
) -> None:
    restarts = policy(max_restarts=count, initial_delay=initial, backoff_factor=factor, max_delay=longest)
    for _ in range(count):
        delay = restarts.crashed(0)
        assert delay is not None
        assert 0 <= delay <= longest * (1 + JITTER)
