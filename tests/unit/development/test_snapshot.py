"""What a snapshot of a working tree holds."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from runqy_worker.development.snapshot import SourceSnapshot
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path


def git(directory: Path, *args: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *args], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "package").mkdir(parents=True)
    (directory / "main.py").write_text("print(1)\n")
    (directory / "package" / "model.py").write_text("")
    return directory


@pytest.fixture
def snapshot(source: Path, tmp_path: Path) -> SourceSnapshot:
    return SourceSnapshot(source, tmp_path / "snapshot")


def files(snapshot: SourceSnapshot, tmp_path: Path) -> dict[str, str]:
    """What a clone holds."""
    clone = tmp_path / "clone"
    subprocess.run(["rm", "-rf", str(clone)], check=True)
    git(tmp_path, "clone", "--quiet", "--branch", "main", snapshot.url, str(clone))
    return {
        str(path.relative_to(clone)): path.read_text()
        for path in clone.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }


def test_a_plain_directory_can_be_cloned(snapshot: SourceSnapshot, source: Path, tmp_path: Path) -> None:
    assert snapshot.take()
    assert files(snapshot, tmp_path) == {"main.py": "print(1)\n", "package/model.py": ""}
    assert not (source / ".git").exists()


def test_uncommitted_and_untracked_files_are_in_and_the_repository_is_untouched(
    snapshot: SourceSnapshot, source: Path, tmp_path: Path
) -> None:
    git(source, "init", "--quiet")
    git(source, "add", ".")
    git(source, "commit", "--quiet", "-m", "first")
    (source / "main.py").write_text("print(2)\n")
    (source / "new.py").write_text("new")
    before = git(source, "status", "--porcelain"), git(source, "rev-parse", "HEAD")
    snapshot.take()
    assert files(snapshot, tmp_path) == {"main.py": "print(2)\n", "new.py": "new", "package/model.py": ""}
    assert (git(source, "status", "--porcelain"), git(source, "rev-parse", "HEAD")) == before


def test_ignored_files_caches_and_environments_are_left_out(
    snapshot: SourceSnapshot, source: Path, tmp_path: Path
) -> None:
    (source / ".gitignore").write_text("weights/\n")
    for name in ("weights", ".venv", "__pycache__", "package/__pycache__", "node_modules"):
        (source / name).mkdir()
        (source / name / "file").write_text("big")
    snapshot.take()
    assert set(files(snapshot, tmp_path)) == {".gitignore", "main.py", "package/model.py"}


def test_a_second_snapshot_is_new_only_when_something_changed(
    snapshot: SourceSnapshot, source: Path, tmp_path: Path
) -> None:
    assert snapshot.take()
    assert not snapshot.take()
    (source / "main.py").write_text("print(3)\n")
    (source / "package" / "model.py").unlink()
    assert snapshot.take()
    assert files(snapshot, tmp_path) == {"main.py": "print(3)\n"}


def test_a_later_session_goes_on_with_the_same_repository(
    snapshot: SourceSnapshot, source: Path, tmp_path: Path
) -> None:
    snapshot.take()
    (source / "main.py").write_text("print(4)\n")
    again = SourceSnapshot(source, tmp_path / "snapshot")
    assert again.take()
    assert files(again, tmp_path)["main.py"] == "print(4)\n"


def test_a_repository_inside_is_left_out_and_named(snapshot: SourceSnapshot, source: Path, tmp_path: Path) -> None:
    inside = source / "vendored"
    inside.mkdir()
    git(inside, "init", "--quiet")
    (inside / "file.py").write_text("")
    git(inside, "add", ".")
    git(inside, "commit", "--quiet", "-m", "theirs")
    snapshot.take()
    assert snapshot.left_out == ("vendored",)
    assert set(files(snapshot, tmp_path)) == {"main.py", "package/model.py"}


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DeploymentError, match="holds no file"):
        SourceSnapshot(tmp_path / "empty", tmp_path / "snapshot").take()


def test_a_hook_or_setting_of_the_user_changes_nothing(
    snapshot: SourceSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[commit]\n\tgpgsign = true\n[core]\n\thooksPath = /nowhere\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere/either")
    assert snapshot.take()


def test_without_git_it_says_so(snapshot: SourceSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeploymentError, match="git is not installed"):
        snapshot.take()
