"""Making environments and installing into them, with uv where it is there and gives the same result, else with pip.

`uv pip` does not look at the base interpreter's packages when it resolves: with `use_system_site_packages` it
would install a second copy of, say, a CUDA build of PyTorch over the one that the host provides. So uv is asked
first what it would install, and where any of that is on the host already, pip does the work, which counts what is
there as installed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.deployment.commands import Activity, Command, CommandResult, OnLine, run
from runqy_worker.deployment.install_errors import install_error
from runqy_worker.deployment.progress import Progress
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runqy_worker.deployment.interpreter import Interpreter
    from runqy_worker.deployment.redaction import Redactor
    from runqy_worker.domain.events import Listener

_TOOLS = {"pip", "setuptools", "uv", "wheel"}
_PLANNED = re.compile(r"\s*\+ (?P<name>[A-Za-z0-9._-]+)==")


@dataclass(slots=True)
class Installer:
    """Makes one environment and installs into it.

    Attributes:
        interpreter: What the environment is made from.
        uv: The uv program; None to use `venv` and pip.
        shared: The environment sees the interpreter's own packages.
        environ: Environment of the commands: indexes, credentials, caches.
        timeout: Seconds that one command may take.
        listener: Hears the output, line by line.
        redact: Masks secrets in it.
        activity: Beats while commands work.
    """

    interpreter: Interpreter
    uv: str | None
    shared: bool
    environ: Mapping[str, str]
    timeout: float
    listener: Listener
    redact: Redactor
    activity: Activity

    async def create(self, path: Path) -> None:
        """Make an empty environment at `path`.

        Raises:
            DeploymentError: It can't be made, for instance because Python's venv module is missing.
        """
        shared = ["--system-site-packages"] if self.shared else []
        if self.uv is not None:
            argv = [
                self.uv,
                "venv",
                "--quiet",
                "--no-project",
                "--python",
                str(self.interpreter.executable),
                *shared,
                str(path),
            ]
        elif self.interpreter.has_venv:
            argv = [str(self.interpreter.executable), "-m", "venv", *shared, str(path)]
        else:
            raise DeploymentError(
                f"Python {self.interpreter.short} at {self.interpreter.executable} has no venv module: "
                f"apt install python3-venv (or python{self.interpreter.short}-venv), or install uv",
                step="environment",
                retryable=False,
            )
        result = await self._run(argv, cwd=path.parent, step="environment")
        if result.returncode != 0:
            raise install_error(result.tail, "the environment")

    async def install(self, environment: Path, what: Sequence[str], *, folder: Path, name: str) -> None:
        """Install packages.

        Args:
            environment: Where to.
            what: Arguments as pip takes them: `-r FILE`, `--no-deps`, folders.
            folder: Where relative paths start.
            name: What to call it in messages.

        Raises:
            DeploymentError: It failed.
        """
        if self.uv is not None and not await self._would_duplicate(environment, what, folder):
            argv = [self.uv, "pip", "install", "--python", _python(environment), *what]
        else:
            await self._provide_pip(environment)
            argv = [_python(environment), "-m", "pip", "install", "--progress-bar", "off", *what]
        result = await self._run(argv, cwd=folder)
        if result.returncode != 0:
            raise install_error(result.tail, name)

    async def export_lock(self, project: Path, target: Path) -> None:
        """Write the packages that a uv.lock pins to the requirements file `target`.

        Raises:
            DeploymentError: uv can't read the lock.
        """
        assert self.uv is not None, "a lock is exported only with uv"  # noqa: S101 - a programming error
        argv = [self.uv, "export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--quiet",
                "--project", str(project), "--output-file", str(target)]  # fmt: skip
        if self.shared:
            # pip may have to install these, and it refuses hashes unless every single line has one.
            argv.append("--no-hashes")
        result = await self._run(argv, cwd=project)
        if result.returncode != 0:
            raise install_error(result.tail, "uv.lock")

    async def _would_duplicate(self, environment: Path, what: Sequence[str], folder: Path) -> bool:
        """Whether uv would install something that the environment sees already."""
        there = {name for name, _ in self.interpreter.packages} - _TOOLS
        if not self.shared or not there or "--no-deps" in what:
            return False
        assert self.uv is not None  # noqa: S101 - asked only then
        argv = [self.uv, "pip", "install", "--dry-run", "--python", _python(environment), *what]
        planned: list[str] = []
        await self._run(argv, cwd=folder, on_line=lambda text, _: planned.append(text))
        matches = (_PLANNED.match(line) for line in planned)
        return any(_plain(match["name"]) in there for match in matches if match)

    async def _provide_pip(self, environment: Path) -> None:
        """Make pip runnable there: environments made by uv come without it."""
        probe = await self._run([_python(environment), "-m", "pip", "--version"], cwd=environment, quiet=True)
        if probe.returncode == 0:
            return
        if self.interpreter.has_venv:
            argv = [_python(environment), "-m", "ensurepip", "--upgrade"]
        else:
            argv = [self.uv or "uv", "pip", "install", "--python", _python(environment), "pip"]
        result = await self._run(argv, cwd=environment, quiet=True)
        if result.returncode != 0:
            raise install_error(result.tail, "pip")

    async def _run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        step: str = "install",
        quiet: bool = False,
        on_line: OnLine | None = None,
    ) -> CommandResult:
        command = Command(argv, step, cwd, self.environ, self.timeout)
        hears = None if quiet else on_line or Progress(self.listener, "install_output")
        return await run(command, on_line=hears, redact=self.redact, activity=self.activity)


def installer_environment(base: Mapping[str, str], caches: Path) -> dict[str, str]:
    """Variables for installers: the given ones without what would point them at another environment.

    Args:
        base: The service's environment, without what is the worker's alone.
        caches: Where downloads are kept unless the service says otherwise; a service user may have no home.
    """
    away = {"VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_SYSTEM_PYTHON", "UV_PROJECT_ENVIRONMENT"}
    kept = {name: value for name, value in base.items() if name not in away}
    defaults = {"PIP_CACHE_DIR": str(caches / "pip"), "UV_CACHE_DIR": str(caches / "uv")}
    defaults |= {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}  # trust whom the host trusts; older releases: the latter
    return defaults | kept | {
        "NO_COLOR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_USER": "0",
        "PYTHONUNBUFFERED": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }  # fmt: skip


def _python(environment: Path) -> str:
    return str(environment / "bin" / "python")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
