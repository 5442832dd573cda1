"""Whether the program's files are still those that run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runqy_worker.service.installed import InstalledFiles
from runqy_worker.version import __version__

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "part" / "__pycache__").mkdir(parents=True)
    (tmp_path / "version.py").write_text(f'"""V."""\n\n__version__ = "{__version__}"\n')
    (tmp_path / "part" / "module.py").write_text("x = 1\n")
    return tmp_path


def test_what_python_compiles_is_no_change(package: Path) -> None:
    installed = InstalledFiles(package)
    (package / "part" / "__pycache__" / "module.cpython-311.pyc").touch()
    (package / "py.typed").touch()
    assert installed.change() == ""


def test_another_version_is_named(package: Path) -> None:
    installed = InstalledFiles(package)
    (package / "version.py").write_text('__version__ = "99.1"\n')
    assert installed.change() == f"version {__version__} runs, and 99.1 is installed"


def test_other_files_of_the_same_version_are_a_change(package: Path) -> None:
    installed = InstalledFiles(package)
    (package / "part" / "module.py").write_text("x = 22\n")
    assert installed.change() == (
        f"the program's files on disk are others than those that run (both are version {__version__})"
    )


def test_files_that_are_gone_are_a_change(package: Path) -> None:
    installed = InstalledFiles(package)
    (package / "version.py").unlink()
    assert installed.change() == f"version {__version__} runs, and none is installed"
