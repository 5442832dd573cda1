from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runqy_worker.config.catalog import SETTINGS, VARIABLES
from runqy_worker.config.reference import render

if TYPE_CHECKING:
    from unit.config.conftest import Desk

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", render(), re.DOTALL)


def test_the_page_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "run: python -m runqy_worker.config.reference > docs/configuration.md"
    )


def test_the_page_names_every_setting_and_variable() -> None:
    page = render()
    assert [entry.key for entry in SETTINGS.values() if f"| `{entry.name}` |" not in page] == []
    assert [name for name in VARIABLES if f"`{name}`" not in page] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(desk: Desk, enough: dict[str, str], example: str) -> None:
    del enough["RUNQY_QUEUES"]
    loaded = desk.load(example, {**enough, "SERVER_KEY": "k"}, check_files=False)
    assert loaded.config.queues


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3
