"""What the role said of each mistake, and how the worker fared meanwhile."""

from __future__ import annotations

import json

import pytest
from fleet import checks
from fleet.hosts import Worker

HINTS = {
    "misspelt": ("concurency", "concurrency"),
    "server down": ("127.0.0.1:9 can't be reached", "Is the runqy server up?"),
    "bad key": ("api_key",),
    "bad repository": ("nowhere", "there is no repository file:///srv/git/nothing"),
}


def test_runs_change_once_and_check_mode_works_before_and_after(machine):
    checks.check_that_nothing_was_left_to_change(machine)


@pytest.fixture
def noted(host):
    return json.loads(host.file("/srv/site/said.json").content_string)


def test_what_is_right_is_applied(noted):
    assert noted["said"]["before"] == "it worked"


@pytest.mark.parametrize("case", HINTS)
def test_a_mistake_is_named(noted, case):
    said = str(noted["said"][case])
    assert [hint for hint in HINTS[case] if hint not in said] == [], said


@pytest.mark.parametrize("case", HINTS)
def test_the_running_worker_is_left_alone(noted, case):
    assert noted["workers"][case] == noted["workers"]["before"]


def test_afterwards_all_is_well_again(host):
    checks.check_worker(Worker(host, "inference"))
