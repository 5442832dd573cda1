"""The Vagrantfile is one that Vagrant takes, where there is a Vagrant."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from collection.files import COLLECTION

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is missing: apt-get install vagrant")


@pytest.mark.parametrize("provider", ["docker", "virtualbox"])
def test_vagrant_takes_it(tmp_path: Path, provider: str) -> None:
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=COLLECTION.parent,
        env={
            **os.environ,
            "VAGRANT_DEFAULT_PROVIDER": provider,
            "VAGRANT_HOME": str(tmp_path / "home"),
            "VAGRANT_DOTFILE_PATH": str(tmp_path / "state"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
