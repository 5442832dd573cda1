"""Poetry's dependency table turned into standard requirement lines, for projects that are not packages."""

from __future__ import annotations

from typing import Any

from runqy_worker.domain.errors import DeploymentError


def poetry_requirements(poetry: dict[str, Any]) -> list[str]:
    """The lines for `[tool.poetry.dependencies]`, without optional ones and without `python` itself.

    Raises:
        DeploymentError: A constraint can't be expressed.
    """
    table = poetry.get("dependencies", {})
    lines: list[str] = []
    for name, given in table.items():
        if name.lower() == "python":
            continue
        for one in given if isinstance(given, list) else [given]:
            line = _line(name, one if isinstance(one, dict) else {"version": one})
            if line:
                lines.append(line)
    return lines


def _line(name: str, given: dict[str, Any]) -> str:
    if given.get("optional"):
        return ""
    extras = f"[{','.join(given['extras'])}]" if given.get("extras") else ""
    if "git" in given:
        revision = next((given[key] for key in ("rev", "tag", "branch") if key in given), "")
        target = f"{extras} @ git+{given['git']}" + (f"@{revision}" if revision else "")
        target += f"#subdirectory={given['subdirectory']}" if "subdirectory" in given else ""
    elif "url" in given:
        target = f"{extras} @ {given['url']}"
    elif "path" in given:
        raise DeploymentError(
            f"pyproject.toml: the dependency {name} is a path, which needs Poetry itself; "
            "name it in a requirements.txt instead",
            step="environment",
            retryable=False,
        )
    else:
        target = extras + _specifiers(name, str(given.get("version", "*")))
    markers = [str(given["markers"])] if given.get("markers") else []
    markers += _python_markers(name, str(given.get("python", "*")))
    joined = " and ".join(f"({marker})" if len(markers) > 1 else marker for marker in markers)
    return f"{name}{target}" + (f" ; {joined}" if joined else "")


def _python_markers(name: str, constraint: str) -> list[str]:
    found = []
    for specifier in filter(None, _specifiers(name, constraint).split(",")):
        operator = specifier.rstrip("0123456789.*abcrdevpost+!-")
        version = specifier[len(operator) :]
        variable = "python_version" if version.count(".") <= 1 else "python_full_version"
        found.append(f"{variable} {operator} '{version}'")
    return found


def _specifiers(name: str, constraint: str) -> str:
    """A version constraint in standard form; empty for any version."""
    if "||" in constraint:
        message = f"pyproject.toml: {name} = {constraint!r} can't be expressed as a standard requirement"
        raise DeploymentError(message, step="environment", retryable=False)
    parts = [part.strip() for part in constraint.replace(" ,", ",").split(",")]
    return ",".join(filter(None, (_specifier(part) for part in parts)))


def _specifier(part: str) -> str:
    if part in {"", "*"}:
        return ""
    if part.startswith("^"):
        return _range(part[1:].strip(), caret=True)
    if part.startswith("~") and not part.startswith("~="):
        return _range(part[1:].strip(), caret=False)
    if part[0] in "<>=!~":
        return part.replace(" ", "").replace("===", "==") if not part.startswith("= ") else f"=={part[1:].strip()}"
    return f"=={part}"


def _range(version: str, *, caret: bool) -> str:
    """`^1.2.3` allows what keeps the first non-zero number, `~1.2.3` what keeps the second (or the only one)."""
    numbers = [int(number) for number in version.split(".") if number.isdigit()]
    if caret:
        position = next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)
    else:
        position = min(1, len(numbers) - 1)
    upper = [*numbers[:position], numbers[position] + 1]
    return f">={version},<{'.'.join(map(str, upper))}"
