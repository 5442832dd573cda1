"""Changes in a source tree, and what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.fakes import FakeClock

from runqy_worker.development.watch import PATIENCE, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Script:
    """Moves the clock and edits files, one step per look."""

    def __init__(self, clock: FakeClock, *steps: Callable[[], object] | None) -> None:
        self.clock = clock
        self.steps = list(steps)
        self.looks = 0

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.looks += 1
        step = self.steps.pop(0) if self.steps else None
        if step:
            step()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "main.py").write_text("one")
    (tmp_path / "package" / "model.py").write_text("one")
    return tmp_path


async def first_change(tree: Path, *steps: Callable[[], object] | None) -> tuple[set[str], int]:
    """The names that the first change names, and after how many looks it was told."""
    clock = FakeClock()
    script = Script(clock, *steps)
    async for changed in Watcher(tree, interval=1, clock=clock, sleep=script.sleep):
        return {path.removeprefix(f"{tree}/") for path in changed}, script.looks
    pytest.fail("it ended by itself")


async def test_written_new_and_removed_files_are_one_change(tree: Path) -> None:
    changed, looks = await first_change(
        tree,
        None,
        lambda: (tree / "main.py").write_text("changed"),
        lambda: (tree / "package" / "new.py").write_text("new"),
        (tree / "package" / "model.py").unlink,
    )
    assert changed == {"main.py", "package/new.py", "package/model.py"}
    assert looks == 5, "told at the first look that found nothing new"


async def test_caches_environments_and_git_are_no_source(tree: Path) -> None:
    def noise() -> None:
        for name in (".git", "__pycache__", ".venv", "node_modules", "package/__pycache__"):
            (tree / name).mkdir()
            (tree / name / "file.py").write_text("noise")
        (tree / "main.pyc").write_text("noise")

    changed, looks = await first_change(tree, noise, None, None, lambda: (tree / "main.py").write_text("changed"))
    assert changed == {"main.py"}
    assert looks == 5


async def test_changes_that_never_rest_are_told_all_the_same(tree: Path) -> None:
    steps = [lambda number=number: (tree / "main.py").write_text("x" * number) for number in range(10, 100)]
    changed, looks = await first_change(tree, *steps)
    assert changed == {"main.py"}
    assert looks == PATIENCE + 1


async def test_a_dangling_link_does_not_end_it(tree: Path) -> None:
    (tree / "dangling").symlink_to(tree / "nowhere")
    changed, _ = await first_change(tree, lambda: (tree / "package" / "model.py").write_text("changed"))
    assert changed == {"package/model.py"}


async def test_the_next_change_is_told_too(tree: Path) -> None:
    clock = FakeClock()
    script = Script(
        clock,
        lambda: (tree / "main.py").write_text("second"),
        None,
        lambda: (tree / "package" / "model.py").write_text("second"),
    )
    seen = []
    async for changed in Watcher(tree, interval=1, clock=clock, sleep=script.sleep):
        seen.append(len(changed))
        if len(seen) == 2:
            break
    assert seen == [1, 1]
