"""A deployment directory, a remote, and a deployer that uses both."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.deployments import Deployments
from support.git_site import GitSSH, Remote, sshd_binary
from support.tools import missing

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    """An empty repository."""
    return Remote(tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployments]:
    """A place to deploy to."""
    with Deployments(tmp_path / "site") as deployments:
        yield deployments


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[GitSSH]:
    """A running sshd."""
    if sshd_binary() is None:
        missing("sshd is missing: apt-get install openssh-server")
    directory = tmp_path / "ssh"
    directory.mkdir()
    with GitSSH(directory) as server:
        yield server


@pytest.fixture(scope="session")
def uv_path() -> str:
    """A PATH with uv on it."""
    beside = str(Path(sys.executable).parent)
    assert shutil.which("uv", path=beside) or shutil.which("uv"), "uv is missing: pip install uv"
    return beside
