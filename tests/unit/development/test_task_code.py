"""Guesses about task code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runqy_worker.development.task_code import guess_queue, guess_startup_cmd, is_remote
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.queues import is_parent, is_valid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (["main.py", "app.py"], "python main.py"),
        (["app.py", "package/__main__.py"], "python app.py"),
        (["package/__main__.py", "package/model.py"], "python -m package"),
    ],
)
def test_the_command_is_guessed_from_the_files(tmp_path: Path, files: list[str], command: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert guess_startup_cmd(tmp_path) == command


@pytest.mark.parametrize(("files", "found"), [([], "found none"), (["a/__main__.py", "b/__main__.py"], "found a, b")])
def test_when_it_can_not_be_told_what_was_looked_for_is(tmp_path: Path, files: list[str], found: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(DeploymentError, match=rf"main\.py, app\.py.*{found}.*--cmd") as caught:
        guess_startup_cmd(tmp_path)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("https://example.org/x.git", True),
        ("git@example.org:team/x.git", True),
        ("ssh://git@example.org/x", True),
        ("file:///srv/x", True),
        (".", False),
        ("../x", False),
        ("/srv/x", False),
        ("a/b@c", False),
    ],
)
def test_addresses_and_paths_are_told_apart(text: str, remote: bool) -> None:
    assert is_remote(text) is remote


@pytest.mark.parametrize(
    ("text", "queue"),
    [
        ("https://example.org/team/image-tasks.git", "image-tasks"),
        ("git@example.org:team/words.git/", "words"),
        ("/srv/my tasks.v2", "my-tasks-v2"),
        ("/", "dev"),
    ],
)
def test_a_queue_is_named_after_the_code(text: str, queue: str) -> None:
    assert guess_queue(text) == queue


@given(st.text())
def test_every_guessed_name_is_a_parent_queue(text: str) -> None:
    name = guess_queue(text)
    assert is_valid(name)
    assert is_parent(name)
