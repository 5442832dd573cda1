"""The first runs on a bare host, by the oldest Ansible that the collection is for."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from fleet.hosts import Run
from fleet.playing import Played

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def runs(first: Path) -> list[Played]:
    """In check mode, for real, again, and in check mode."""
    told = json.loads((first / "runs.json").read_text())
    return [Played(each["ok"], each["said"], Run(**each["run"])) for each in told]


def test_the_oldest_ansible_is_the_one_that_the_collection_asks_for(oldest_ansible: Path) -> None:
    told = subprocess.run([oldest_ansible / "ansible", "--version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("ansible [core 2.16.")


def test_only_the_run_that_is_for_real_and_first_changes_something(runs: list[Played]) -> None:
    assert [played.run.check for played in runs] == [True, False, False, True]
    assert runs[0].changed("first") != []
    assert runs[1].changed("first") != []
    assert [played.changed("first") for played in runs[2:]] == [[], []]


def test_no_secret_is_shown(runs: list[Played]) -> None:
    assert ["worker-key" in played.said for played in runs] == [False] * 4
