"""Which Python runs the task code, and what makes its environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runqy_worker.deployment.child_environment import service_environment
from runqy_worker.deployment.interpreter import InterpreterFinder, find_uv
from runqy_worker.doctor.finding import Finding, ok, problem
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from runqy_worker.doctor.subject import Subject


async def look(subject: Subject) -> list[Finding]:
    """The interpreter of `deployment.python`, uv, and the venv module."""
    environ = service_environment(subject.environ)
    deployment = subject.config.deployment
    uv = find_uv(environ) if deployment.installer in {"auto", "uv"} else None
    try:
        found = await InterpreterFinder(environ, uv).find(deployment.python)
    except DeploymentError as error:
        return [problem(str(error), "install that Python, or set deployment.python to one that is there")]
    version = ".".join(map(str, found.version))
    about = f"Python {version} at {found.executable}"
    if uv is not None:
        return [ok(f"{about}; environments are made by {uv}")]
    if deployment.installer == "uv":
        return [problem(f"{about}; deployment.installer is uv, but there is no uv", "install uv, or set auto or venv")]
    if not found.has_venv:
        advice = f"apt-get install python{found.short}-venv, or install uv"
        return [problem(f"{about} has no venv module, and there is no uv", advice)]
    return [ok(f"{about}; environments are made by its venv module")]
