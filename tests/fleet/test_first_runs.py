"""The first runs on a bare host, by the oldest Ansible that the collection is for."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.playing import Played


def test_the_oldest_ansible_is_the_one_that_the_collection_asks_for(oldest_ansible: Path) -> None:
    told = subprocess.run([oldest_ansible / "ansible", "--version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("ansible [core 2.16.")


def test_only_the_run_that_is_for_real_and_first_changes_something(worker_root: Path, first_runs: list[Played]) -> None:
    assert worker_root.exists()
    assert [played.run.check for played in first_runs] == [True, False, False, True]
    assert first_runs[0].changed("first") != []
    assert first_runs[1].changed("first") != []
    assert [played.changed("first") for played in first_runs[2:]] == [[], []]


def test_no_secret_is_shown(worker_root: Path, first_runs: list[Played]) -> None:
    assert worker_root.exists()
    assert ["worker-key" in played.said for played in first_runs] == [False] * 4
