"""A deployment directory with a deployer, for tests that deploy for real."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from runqy_worker.config.model import Config, DeploymentConfig, GitConfig
from runqy_worker.deployment.answer import DeploymentSpec, QueueAnswer, RedisAnswer, Registration
from runqy_worker.deployment.deployer import Deployer
from runqy_worker.domain.events import Notice, Silent

if TYPE_CHECKING:
    from pathlib import Path

    from runqy_worker.deployment.releases import ReleaseDir


class Deployments(Silent):
    """Deploys into a directory, and hears what is told of it.

    Attributes:
        config: May be changed before a deployer is made.
        environ: The daemon's environment.
        notices: What was told.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.dir = directory / "deployment"
        home = directory / "home"
        home.mkdir()
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(directory / "run")}
        (directory / "run").mkdir()
        self.config = Config(
            deployment=DeploymentConfig(
                dir=str(self.dir), python=sys.executable, installer="uv", use_system_site_packages=False
            ),
            git=GitConfig(timeout=60),
        )
        self.notices: list[Notice] = []
        self._deployers: list[Deployer] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for deployer in self._deployers:
            deployer.close()

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)

    def actions(self) -> list[str]:
        """What was told, by name."""
        return [notice.action for notice in self.notices]

    def said(self) -> str:
        """All that was told."""
        return "\n".join(f"{notice.message} {notice.fields}" for notice in self.notices)

    def deployment(self, **settings: Any) -> None:
        """Change settings of the `deployment` section."""
        self.config = replace(self.config, deployment=replace(self.config.deployment, **settings))

    def git(self, **settings: Any) -> None:
        """Change settings of the `git` section."""
        self.config = replace(self.config, git=replace(self.config.git, **settings))

    def deployer(self, parent: str = "inference") -> Deployer:
        """One worker's deployer."""
        deployer = Deployer(self.config, parent, listener=self, environ=self.environ)
        self._deployers.append(deployer)
        return deployer

    async def deploy(self, git_url: str | Path, **changes: Any) -> ReleaseDir:
        """Deploy with a fresh deployer."""
        return await self.deployer().deploy(registration(git_url, **changes))

    def files(self, release: ReleaseDir) -> set[str]:
        """What was checked out, without git's own files."""
        found = (path.relative_to(release.checkout) for path in release.checkout.rglob("*") if path.is_file())
        return {str(path) for path in found if path.parts[0] != ".git" and path.name != ".git"}

    def left_over(self) -> list[str]:
        """Names in the deployment directory that no complete release accounts for."""
        releases = [path for path in self.dir.glob("releases/*/*") if path.is_dir() and not path.is_symlink()]
        environments = [path for path in self.dir.glob("environments/*") if path.is_dir()]
        half = [path.name for path in releases if not (path / "release.json").exists()]
        return half + [path.name for path in environments if not (path / ".runqy-complete.json").exists()]

    def holding(self, text: str) -> list[str]:
        """Files below the site that contain a text."""
        files = (path for path in self.directory.rglob("*") if path.is_file() and not path.is_symlink())
        return [str(path) for path in files if text.encode() in path.read_bytes()]


def registration(
    git_url: str | Path, *, git_token: str = "", vaults: dict[str, str] | None = None, **spec: Any
) -> Registration:
    """What a server would have told."""
    deployment = DeploymentSpec(**{"git_url": str(git_url), "startup_cmd": "python main.py", "branch": "main", **spec})
    queue = QueueAnswer("inference", 1)
    return Registration(RedisAnswer("redis:6379"), queue, (), deployment, vaults or {}, git_token)


def run_python(release: ReleaseDir, code: str) -> str:
    """Run code in a release's environment and folder; returns what it printed."""
    python = release.environment / "bin" / "python"
    done = subprocess.run([python, "-c", code], cwd=release.code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
