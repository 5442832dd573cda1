"""The environment of the task code: what it gets, and what is the worker's alone."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# The worker's own settings, secrets and conversation with the service manager. The only list of its kind.
_OWN = {
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
}
_OWN_PREFIXES = ("RUNQY_", "WATCHDOG_", "LISTEN_")

_CLEAN = {
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "TZ", "USER",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "LD_LIBRARY_PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
}  # fmt: skip
_CLEAN_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_")

_REFUSED = {"PATH", "HOME", "VIRTUAL_ENV", "PYTHONPATH"}  # the server refuses these in vaults, too
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def service_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The service's environment without what is the worker's alone."""
    return {name: value for name, value in environ.items() if name not in _OWN and not name.startswith(_OWN_PREFIXES)}


def child_environment(
    environ: Mapping[str, str],
    *,
    clean: bool,
    virtual_env: Path,
    env_vars: Mapping[str, str],
    vaults: Mapping[str, str],
    warn: Callable[[str], None],
) -> dict[str, str]:
    """The whole environment of a process of the task code.

    Args:
        environ: The service's environment.
        clean: Pass on only an allow-list of it.
        virtual_env: The environment, whose programs come first on PATH.
        env_vars: The deployment's variables. A PATH among them comes after the environment's programs.
        vaults: Secret variables; they win over `env_vars`.
        warn: Called with a sentence for each variable that is left out.
    """
    base = service_environment(environ)
    if clean:
        base = {name: value for name, value in base.items() if name in _CLEAN or name.startswith(_CLEAN_PREFIXES)}
    base.pop("PYTHONHOME", None)
    base["PYTHONUNBUFFERED"] = "1"
    for name, value in env_vars.items():
        if name == "VIRTUAL_ENV" or not _NAME.match(name):
            warn(f"deployment.env_vars: {name!r} was left out: it can't be set from there")
        else:
            base[name] = value
    for name, value in vaults.items():
        if name in _REFUSED or not _NAME.match(name):
            warn(f"vaults: the entry {name!r} was left out: it can't be set from there")
        else:
            base[name] = value
    path = base.get("PATH") or os.defpath
    return base | {"VIRTUAL_ENV": str(virtual_env), "PATH": f"{virtual_env / 'bin'}{os.pathsep}{path}"}
