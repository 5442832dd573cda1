"""What the role said of each mistake, and how the worker fared meanwhile."""

from __future__ import annotations

import json

import pytest
from fleet import checks
from fleet.hosts import Worker

HINTS = {
    "misspelt": ("concurency", "concurrency"),
    "server down": ("http://127.0.0.1:9",),
    "bad key": ("api_key",),
    "bad repository": ("nowhere", "file:///srv/git/nothing"),
}


@pytest.fixture
def noted(host):
    return json.loads(host.file("/srv/site/said.json").content_string)


def test_what_is_right_is_applied(noted):
    assert noted["said"]["before"] == "it worked"


@pytest.mark.parametrize("case", HINTS)
def test_a_mistake_is_named(noted, case):
    assert [hint for hint in HINTS[case] if hint not in noted["said"][case]] == [], noted["said"][case]


@pytest.mark.parametrize("case", HINTS)
def test_the_running_worker_is_left_alone(noted, case):
    assert noted["workers"][case] == noted["workers"]["before"]


def test_afterwards_all_is_well_again(host):
    checks.check_worker(Worker(host, "inference"))
