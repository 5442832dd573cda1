"""A deployed release and its registration turned into a command line."""

from __future__ import annotations

import re
import shlex
import shutil
from typing import TYPE_CHECKING

from runqy_worker.deployment.child_environment import child_environment
from runqy_worker.domain.errors import DeploymentError
from runqy_worker.domain.events import Level, Listener, Notice
from runqy_worker.domain.launch import Launch, Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runqy_worker.deployment.answer import Registration
    from runqy_worker.deployment.releases import ReleaseDir

_PYTHON = re.compile(r"python(3(\.[0-9]+)?)?\Z")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def make_launch(
    release: ReleaseDir, registration: Registration, *, environ: Mapping[str, str], clean: bool, listener: Listener
) -> Launch:
    """How to start the task code of a release.

    The command and the mode are those that the release was deployed with, so that an older release that is started
    again is started as it was; variables, secrets and time limits are the registration's.

    Args:
        release: What to start.
        registration: What the server said last.
        environ: The service's environment.
        clean: Pass only an allow-list of it on.
        listener: Hears of variables that were left out.

    Raises:
        DeploymentError: The command can't be split, is empty, or its program does not exist.
    """
    spec = registration.deployment

    def warn(message: str) -> None:
        listener.notice(Notice("variable_refused", message, Level.WARNING))

    env = child_environment(
        environ,
        clean=clean,
        virtual_env=release.environment,
        env_vars=spec.env_vars,
        vaults=registration.vaults,
        warn=warn,
    )
    words = split_command(release.record.startup_cmd)
    program = _program(words[0], release.environment / "bin", release.code, env["PATH"])
    return Launch(
        argv=(program, *words[1:]),
        cwd=release.code,
        env=env,
        mode=Mode(release.record.mode),
        startup_timeout=spec.startup_timeout,
        release=release.name,
        store_result=spec.redis_storage,
        secrets=registration.secrets,
    )


def split_command(startup_cmd: str) -> list[str]:
    """The words of a startup command, by the shell's quoting rules but without a shell.

    Raises:
        DeploymentError: It is empty, has an open quote, or expects a shell.
    """
    try:
        words = shlex.split(startup_cmd)
    except ValueError as error:
        raise _bad(f"deployment.startup_cmd is {startup_cmd!r}, which can't be split into words: {error}") from error
    if not words:
        raise _bad("deployment.startup_cmd is empty, expected a command such as `python main.py`")
    if _ASSIGNMENT.match(words[0]):
        raise _bad(
            f"deployment.startup_cmd starts with {words[0].partition('=')[0]!r}=, but no shell runs it: "
            "set variables in deployment.env_vars"
        )
    if {"&&", "||", "|", ";", ">", "<"} & set(words):
        raise _bad(f"deployment.startup_cmd is {startup_cmd!r}, but no shell runs it: use `sh -c '...'`, or a script")
    return words


def _program(word: str, programs: Path, code: Path, path: str) -> str:
    if _PYTHON.match(word):
        exact = programs / word
        return str(exact if exact.exists() else programs / "python")
    if "/" in word:
        if (code / word).exists():
            return str(code / word)
        raise _bad(f"deployment.startup_cmd: {word!r} does not exist in the task code's folder")
    if (programs / word).exists():
        return str(programs / word)
    if shutil.which(word, path=path) is None:
        raise _bad(f"deployment.startup_cmd: the program {word!r} is neither in the environment nor on PATH")
    return word


def _bad(message: str) -> DeploymentError:
    return DeploymentError(message, step="launch", retryable=False)
