"""Which Python runs the task code: found, asked what it is, and refused clearly when it won't do."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.deployment.commands import Command, run
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OLDEST = (3, 8)
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,2}\Z")
_TIMEOUT = 60.0
# Runs in any Python, also one that is too old, so that the message can say how old it is.
_PROBE = """
import json, sys
about = {"version": list(sys.version_info[:3]), "build": sys.version, "executable": sys.executable,
         "prefix": sys.prefix, "base": getattr(sys, "base_prefix", sys.prefix), "packages": [], "venv": False,
         "below": getattr(sys, "_base_executable", None)}
if sys.version_info >= (3, 8):
    import importlib.util
    import importlib.metadata as metadata
    about["venv"] = all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip"))
    for found in metadata.distributions():
        name = found.metadata["Name"]
        if name:
            about["packages"].append([name, found.version or ""])
print(json.dumps(about))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that environments are made from.

    Attributes:
        executable: Absolute path.
        version: As in (3, 11, 7).
        identity: Everything that tells it from another: version, build and place.
        packages: (name, version) of what is installed beside it, sorted.
        has_venv: Its `venv` and `ensurepip` modules are there.
    """

    executable: Path
    version: tuple[int, int, int]
    identity: str
    packages: tuple[tuple[str, str], ...]
    has_venv: bool

    @property
    def short(self) -> str:
        """`3.11`."""
        return f"{self.version[0]}.{self.version[1]}"


class InterpreterFinder:
    """Finds the interpreter that the configuration names.

    Args:
        environ: The environment of the commands, and where PATH is looked up.
        uv: The uv program, if there is one.
    """

    def __init__(self, environ: Mapping[str, str], uv: str | None = None) -> None:
        self._environ = environ
        self._uv = uv

    async def find(self, wanted: str) -> Interpreter:
        """The interpreter for `deployment.python`.

        Args:
            wanted: A path, a command, or a version such as `3.9`; empty for `python3` on PATH, or
                our own where that is missing or too old.

        Raises:
            DeploymentError: There is none, it does not run, or it is too old.
        """
        if not wanted:
            return await self._default()
        if _VERSION.match(wanted):
            return self._fit(await self._by_version(wanted), wanted)
        program = shutil.which(wanted, path=self._path)
        if program is None:
            raise _bad(f"deployment.python is {wanted!r}, but there is no such program")
        return self._fit(await self._ask(program), wanted)

    @property
    def _path(self) -> str:
        return self._environ.get("PATH", os.defpath)

    async def _default(self) -> Interpreter:
        """The host's python3, whose packages a shared environment is to see; else the one that runs us."""
        program = shutil.which("python3", path=self._path)
        if program is not None:
            try:
                return self._fit(await self._ask(program), "")
            except DeploymentError:  # too old, or a version manager's placeholder: ours is known to do
                pass
        return await self._ask(sys.executable)

    async def _by_version(self, wanted: str) -> Interpreter:
        parts = tuple(int(part) for part in wanted.split("."))
        seen: list[str] = []
        for candidate in self._candidates(wanted):
            try:
                found = await self._ask(candidate)
            except DeploymentError:  # version managers put placeholders on PATH that fail unless switched on
                continue
            if found.version[: len(parts)] == parts:
                return found
            seen.append(f"{candidate} ({'.'.join(map(str, found.version))})")
        offered = await self._from_uv(wanted)
        if offered:
            return await self._ask(offered)
        others = f" (found: {', '.join(seen)})" if seen else ""
        raise _bad(
            f"deployment.python is {wanted!r}, but no Python {wanted} was found on PATH, by pyenv or by uv{others}"
        )

    def _candidates(self, wanted: str) -> Iterator[str]:
        minor = ".".join(wanted.split(".")[:2])
        for name in (f"python{minor}", f"python{wanted}", "python3"):
            program = shutil.which(name, path=self._path)
            if program:
                yield program
        home = self._environ.get("HOME", "")
        root = self._environ.get("PYENV_ROOT") or (str(Path(home) / ".pyenv") if home else "")
        if root:
            yield from (str(path) for path in sorted(Path(root).glob(f"versions/{wanted}*/bin/python"), reverse=True))

    async def _from_uv(self, wanted: str) -> str:
        if self._uv is None:
            return ""
        environ = {**self._environ, "UV_PYTHON_DOWNLOADS": "never"}
        command = Command(
            [self._uv, "python", "find", "--no-project", "--system", wanted],
            "environment", Path("/"), environ, _TIMEOUT, capture=True,
        )  # fmt: skip
        result = await run(command)
        return result.stdout.strip() if result.returncode == 0 else ""

    async def _ask(self, program: str) -> Interpreter:
        environ = {name: value for name, value in self._environ.items() if not name.startswith("PYTHON")}
        command = Command([program, "-I", "-c", _PROBE], "environment", Path("/"), environ, _TIMEOUT, capture=True)
        result = await run(command)
        try:
            about = json.loads(result.stdout)
        except ValueError:
            said = result.tail[-1] if result.tail else f"exit status {result.returncode}"
            raise _bad(f"{program} does not run as a Python 3 interpreter: {said}") from None
        if about["prefix"] != about["base"] and about["below"] not in {None, about["executable"]}:
            # An environment made from an environment rests on the interpreter below both.
            return await self._ask(about["below"])
        major, minor, micro = about["version"]
        packages = tuple(sorted({(name.lower().replace("_", "-"), version) for name, version in about["packages"]}))
        return Interpreter(
            executable=Path(about["executable"] or program),
            version=(major, minor, micro),
            identity="\n".join((about["build"], about["executable"], about["prefix"], about["base"])),
            packages=packages,
            has_venv=about["venv"],
        )

    def _fit(self, found: Interpreter, wanted: str) -> Interpreter:
        if found.version[:2] < OLDEST:
            which = f"deployment.python ({wanted})"
            version = ".".join(map(str, found.version))
            oldest = ".".join(map(str, OLDEST))
            raise _bad(f"{which} is Python {version} at {found.executable}, expected {oldest} or newer")
        return found


def find_uv(environ: Mapping[str, str]) -> str | None:
    """The uv program: on PATH, else beside our own interpreter."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("uv", path=environ.get("PATH", os.defpath)) or shutil.which("uv", path=beside)


def _bad(message: str) -> DeploymentError:
    return DeploymentError(message, step="environment", retryable=False)
