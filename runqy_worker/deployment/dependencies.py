"""What a repository asks to be installed: which file says it, and a fingerprint of everything it refers to."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from runqy_worker.deployment.poetry import poetry_requirements
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_INCLUDE = re.compile(r"(?:-r|-c|--requirement|--constraint)[ =]?\s*(?P<path>\S+)")
_LOCAL = re.compile(r"(-e|--editable)\b|\.{1,2}(/|\Z|\[)|/|file:|.* @ file:")


class Kind(Enum):
    """How dependencies are given."""

    NONE = "none"
    REQUIREMENTS = "requirements"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What to install.

    Attributes:
        kind: How it is given.
        file: The file that says it; None for `NONE`.
        requirements: Requirement lines taken out of a pyproject.toml, when it needs no build.
        install_project: The project itself is to be installed, built from its folder.
        locked: A uv.lock lies beside the pyproject.toml.
        tied: The installed packages depend on the checked-out code, so no other release can share them.
        fingerprint: Hash of the contents of all the files involved.
    """

    kind: Kind
    file: Path | None = None
    requirements: tuple[str, ...] | None = None
    install_project: bool = False
    locked: bool = False
    tied: bool = False
    fingerprint: str = field(default="", repr=False)

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        assert self.file is not None, "there is no dependency file"  # noqa: S101 - a programming error
        return self.file.parent


def find_dependencies(root: Path, code: Path, requirements_file: str = "") -> Dependencies:
    """Look in the task code's folder first, then in the repository's root.

    In each, requirements.txt comes before pyproject.toml. A pyproject.toml that only configures tools is passed by.

    Args:
        root: The checkout.
        code: The task code's folder.
        requirements_file: The one that the deployment names, relative to either folder.

    Raises:
        DeploymentError: The named file does not exist, or a file can't be read.
    """
    folders = dict.fromkeys((code, root))
    if requirements_file:
        for folder in folders:
            if (folder / requirements_file).is_file():
                return _requirements(folder / requirements_file)
        raise _bad(f"deployment.requirements_file is {requirements_file!r}, but the repository has no such file")
    for folder in folders:
        if (folder / "requirements.txt").is_file():
            return _requirements(folder / "requirements.txt")
        if (folder / "pyproject.toml").is_file():
            found = _project(folder / "pyproject.toml")
            if found is not None:
                return found
    return Dependencies(Kind.NONE, fingerprint=_hash([]))


def _requirements(file: Path) -> Dependencies:
    contents: dict[Path, str] = {}
    _collect(file, contents)
    lines = [line.strip() for text in contents.values() for line in text.splitlines()]
    tied = any(_LOCAL.match(line) for line in lines if not line.startswith("#"))
    return Dependencies(Kind.REQUIREMENTS, file, tied=tied, fingerprint=_hash(contents.values()))


def _collect(file: Path, contents: dict[Path, str]) -> None:
    """Read a requirements file and those that it includes."""
    if file in contents:
        return
    try:
        contents[file] = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{file.name} can't be read: {error}") from error
    for line in contents[file].splitlines():
        include = _INCLUDE.match(line.strip())
        if include and "://" not in include["path"]:
            _collect((file.parent / include["path"]).resolve(), contents)


def _project(file: Path) -> Dependencies | None:
    import tomllib  # noqa: PLC0415 - not for task code with a requirements file

    try:
        text = file.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise _bad(f"{file.name} can't be read: {error}") from error
    project = _table(document, "project")
    poetry = _table(document, "tool", "poetry")
    if not project and not poetry:
        return None
    lock = file.parent / "uv.lock"
    locked = lock.is_file() and bool(project)
    built = _is_built(document, file.parent)
    lines = _static(project, poetry)
    texts = [text, lock.read_text(encoding="utf-8")] if locked else [text]
    local = any(" @ file:" in line for line in lines or ()) or bool(_table(document, "tool", "uv", "sources"))
    return Dependencies(
        Kind.PROJECT,
        file,
        requirements=None if lines is None else tuple(lines),
        install_project=built or lines is None,
        locked=locked,
        tied=built or lines is None or local,
        fingerprint=_hash(texts),
    )


def _is_built(document: dict[str, Any], folder: Path) -> bool:
    """Whether the project is itself a package, by the rules of the tools that such projects are written for."""
    package = _table(document, "tool", "uv").get("package")
    if isinstance(package, bool):
        return package
    if "build-system" not in document:
        return False
    poetry = _table(document, "tool", "poetry")
    if not poetry:
        return True
    if poetry.get("package-mode") is False:
        return False
    name = str(_table(document, "project").get("name") or poetry.get("name", "")).replace("-", "_").lower()
    there = (folder / name, folder / f"{name}.py", folder / "src" / name)
    return "packages" in poetry or any(path.exists() for path in there)


def _static(project: dict[str, Any], poetry: dict[str, Any]) -> list[str] | None:
    """The dependencies, where the file itself lists them; None where only a build can tell."""
    if "dependencies" in project.get("dynamic", []) and not poetry:
        return None
    if "dependencies" in project or not poetry:
        return [str(line) for line in project.get("dependencies", [])]
    return poetry_requirements(poetry)


def _table(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    found: Any = document
    for key in keys:
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _hash(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _bad(message: str) -> DeploymentError:
    return DeploymentError(message, step="environment", retryable=False)
