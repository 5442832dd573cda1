"""What `version` can know."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import TYPE_CHECKING

import pytest

from runqy_worker.service.build import GENERATED, UNKNOWN, build_info
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_generated_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, GENERATED, None)


def git(directory: Path, *args: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *args], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "pyproject.toml").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_a_generated_module_wins(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    module = types.ModuleType(GENERATED)
    module.__dict__.update(COMMIT="4f1c", DATE="2026-01-31T12:00:00Z")
    monkeypatch.setitem(sys.modules, GENERATED, module)
    info = build_info(checkout)
    assert (info.version, info.commit, info.date) == (__version__, "4f1c", "2026-01-31T12:00:00Z")


def test_a_checkout_names_its_commit(checkout: Path) -> None:
    info = build_info(checkout)
    assert info.commit == git(checkout, "rev-parse", "HEAD")
    assert info.date == git(checkout, "log", "-1", "--format=%cI")


def test_changed_files_are_told(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text("changed")
    assert build_info(checkout).commit == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_elsewhere_it_is_unknown(tmp_path: Path) -> None:
    info = build_info(tmp_path)
    assert (info.commit, info.date) == (UNKNOWN, UNKNOWN)
    assert info.python.endswith(f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}")
    assert set(info.as_dict()) == {"version", "commit", "date", "python"}


def test_someone_elses_repository_around_us_is_not_asked(checkout: Path) -> None:
    inside = checkout / "site-packages"
    inside.mkdir()
    assert build_info(inside).commit == UNKNOWN


def test_a_repository_without_a_commit_is_unknown(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "pyproject.toml").write_text("")
    assert build_info(tmp_path).commit == UNKNOWN
