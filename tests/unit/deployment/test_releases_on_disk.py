from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from runqy_worker.deployment.release_record import ReleaseRecord, read_record
from runqy_worker.deployment.releases import ReleaseDir, Releases

if TYPE_CHECKING:
    from pathlib import Path


class Ticking:
    """Each look at the clock is one second later."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        self.now += 1
        return self.now

    monotonic = time


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "releases", Ticking())


def make(releases: Releases, name: str, *, made_at: float = 0) -> ReleaseDir:
    path = releases.prepare(name)
    (path / "code").mkdir()
    environment = releases.root.parent / "environments" / "e"
    (environment / "bin").mkdir(parents=True, exist_ok=True)
    (environment / "bin" / "python").touch()
    record = ReleaseRecord(name, f"commit of {name}", "u", "main", "", "e", "python main.py", "long_running", made_at)
    return releases.finish(path, record, environment)


def others(releases: Releases) -> Releases:
    """The same directory, as another worker has it."""
    return Releases(releases.root, Ticking())


def test_a_release_becomes_current_only_when_it_is_confirmed(releases: Releases) -> None:
    one = make(releases, "one")
    assert releases.current() is None
    assert releases.good() == []
    confirmed = releases.confirm(one)
    assert confirmed.record.ok
    current = releases.current()
    assert current is not None
    assert current.name == "one"
    assert (releases.root / "current" / "code").is_dir()


def test_the_current_release_is_the_first_good_one_then_the_latest(releases: Releases) -> None:
    for name in ("one", "two", "three"):
        releases.confirm(make(releases, name))
    make(releases, "unproven")
    releases.confirm(releases.good()[-1])
    assert [one.name for one in releases.good()] == ["one", "three", "two"]


def test_confirming_the_current_release_again_writes_nothing(releases: Releases) -> None:
    one = releases.confirm(make(releases, "one"))
    before = (one.path / "release.json").stat().st_ino
    assert releases.confirm(one) == one
    assert (one.path / "release.json").stat().st_ino == before


def test_a_rolled_back_release_is_not_good_until_confirmed_again(releases: Releases) -> None:
    releases.confirm(make(releases, "one"))
    two = releases.confirm(make(releases, "two"))
    releases.reject(two)
    assert [one.name for one in releases.good()] == ["one"]
    found = releases.find("two")
    assert found is not None
    assert found.record.rolled_back
    releases.confirm(found)
    assert [one.name for one in releases.good()] == ["two", "one"]


def test_a_release_whose_environment_is_gone_is_not_good(releases: Releases) -> None:
    releases.confirm(make(releases, "one"))
    (releases.root.parent / "environments" / "e" / "bin" / "python").unlink()
    assert releases.good() == []


def test_half_made_releases_and_leftovers_are_swept_and_complete_ones_stay(releases: Releases) -> None:
    make(releases, "whole")
    releases.prepare("half")
    (releases.root / ".tmp-gone-123").mkdir()
    assert sorted(releases.sweep()) == [".tmp-gone-123", "half"]
    assert [path.name for path in releases.root.iterdir()] == ["whole"]


def test_pruning_keeps_the_current_the_latest_good_and_the_newest_attempt(releases: Releases) -> None:
    for number in range(6):
        releases.confirm(make(releases, f"r{number}", made_at=number))
    make(releases, "failed-early", made_at=10)
    make(releases, "failed-late", made_at=11)
    releases.let_go_except()
    assert sorted(releases.prune(2)) == ["failed-early", "r0", "r1", "r2"]
    assert sorted(one.name for one in releases.all()) == ["failed-late", "r3", "r4", "r5"]


def test_pruning_spares_what_another_worker_leases(releases: Releases) -> None:
    for number in range(3):
        releases.confirm(make(releases, f"r{number}", made_at=number))
    releases.let_go_except()
    other = others(releases)
    assert other.lease(releases.root / "r0")
    assert releases.prune(0) == ["r1"]
    other.let_go("r0")
    assert releases.prune(0) == ["r0"]
    assert [one.name for one in releases.all()] == ["r2"]


def test_a_release_that_is_not_there_cannot_be_leased(releases: Releases) -> None:
    assert not releases.lease(releases.root / "none")
    assert not (releases.root / "none").exists()


def test_a_record_of_another_version_or_a_broken_one_counts_as_none(releases: Releases) -> None:
    one = make(releases, "one")
    for text in ("", "{", "[]", json.dumps({"id": "one"}), json.dumps({"unknown": 1})):
        (one.path / "release.json").write_text(text)
        assert read_record(one.path) is None


def test_a_failed_record_leaves_no_lease(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runqy_worker.deployment.releases.write_record", full)
    with pytest.raises(OSError, match="No space left"):
        make(releases, "one")
    assert releases.sweep() == ["one"]
