"""What a wheel is built with must suffice to make what it holds."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
from build_hook import build_module, shared_files, source_date
from deb_source import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_FOREIGN = """
import json, sys
before = set(sys.modules)
from runqy_worker.cli.main import build_parser
build_parser()
loaded = {name: module for name, module in sys.modules.items() if name not in before}
foreign = [name for name, module in loaded.items() if "site-packages" in (getattr(module, "__file__", None) or "")]
print(json.dumps(sorted({name.partition(".")[0] for name in foreign})))
"""
DISTRIBUTIONS = {"yaml": "pyyaml", "_yaml": "pyyaml"}
"""Module -> who brings it, of those that commands may need to describe themselves."""


def test_the_parsers_need_nothing_that_a_build_does_not_have() -> None:
    done = subprocess.run([sys.executable, "-c", _FOREIGN], cwd=ROOT, capture_output=True, text=True, check=True)
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    names = {requirement.partition(">")[0] for requirement in requires}
    assert [name for name in json.loads(done.stdout) if DISTRIBUTIONS.get(name) not in names] == []


def test_a_wheel_holds_the_man_page_and_a_file_for_each_shell() -> None:
    assert [text[:1] for text in shared_files().values()] == [".", "#", "#", "#"]
    assert all(place.startswith("share/") for place in shared_files())


def test_the_date_of_a_build_can_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert source_date() == "2023-11-14T22:13:20+00:00"
    assert 'DATE = "2023-11-14T22:13:20+00:00"' in build_module()
    assert '"2023-11-14"' in shared_files()["share/man/man1/runqy-worker.1"].splitlines()[0]


@pytest.mark.slow
def test_two_builds_of_a_wheel_are_alike_and_say_which_commit_they_are(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir"]
    wheels = []
    for name in ("one", "two"):
        subprocess.run([*pip, "--wheel-dir", str(tmp_path / name), str(ROOT)], check=True, capture_output=True)
        wheels += list((tmp_path / name).glob("*.whl"))
    first, second = (wheel.read_bytes() for wheel in wheels)
    assert first == second
    held = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheels[0])], capture_output=True, text=True, check=True
    )
    package = ("_build.py", "py.typed", "backends/asynq/lua/claim.lua", "config/reference.md")
    units = ("systemd/runqy-worker@.service", "systemd/drop-ins/cuda.conf")
    for needed in (*package, *units):
        assert f"runqy_worker/{needed}" in held.stdout
