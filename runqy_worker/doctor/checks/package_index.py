"""Whether the package index can be reached."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.doctor.finding import Finding, note, ok, warning
from runqy_worker.doctor.proxies import proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import DeploymentConfig
    from runqy_worker.doctor.subject import Subject

DEFAULT = "https://pypi.org/simple"
_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_LONGEST = 8.0


async def look(subject: Subject) -> list[Finding]:
    """The configured indexes, else the one that the environment names, else the public one."""
    deployment = subject.config.deployment
    configured = [each for each in (deployment.index_url, *deployment.extra_index_urls) if each]
    named = next((subject.environ[name] for name in _VARIABLES if subject.environ.get(name)), "")
    urls = configured or [named or DEFAULT]
    found = []
    for url in urls:
        if urlsplit(url).scheme not in {"http", "https"}:
            continue
        failure = await in_daemon_thread(lambda url=url: _try(url, deployment, subject.environ), name="index")  # type: ignore[misc]  # the default binds the loop's value
        where = _shown(url)
        if not failure:
            found.append(ok(f"{where} answers"))
        elif configured or named:
            found.append(warning(f"{where}: {failure}", "mend deployment.index_url and its credentials"))
        else:
            advice = "unless requirements never change, set deployment.index_url to one that can be reached"
            found.append(note(f"{where}: {failure}", advice))
    return found


def _try(url: str, deployment: DeploymentConfig, environ: Mapping[str, str]) -> str:
    """What is wrong with the index; empty when it answers. Blocking."""
    import requests  # noqa: PLC0415 - only here

    proxy = proxy_for(url, environ)
    auth = (deployment.index_username or "__token__", deployment.index_password) if deployment.index_password else None
    try:
        with requests.get(
            url.rstrip("/") + "/pip/",
            auth=auth,
            timeout=_LONGEST,
            proxies={"http": proxy, "https": proxy} if proxy else None,
            stream=True,
        ) as response:
            status = response.status_code
    except requests.Timeout:
        return f"no answer within {_LONGEST:g} s"
    except requests.RequestException as error:
        return f"can't be reached ({type(error).__name__})"  # its text may hold a password
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return f"refuses the user or password ({status})"
    return f"answers with {status}" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
