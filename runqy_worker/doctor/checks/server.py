"""Whether the control server can be reached, step by step, and takes the key.

Registering changes nothing on the server: it only answers.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.doctor.finding import Finding, note, ok, problem, warning
from runqy_worker.doctor.proxies import proxy_for
from runqy_worker.domain.errors import RegistrationError, RunqyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runqy_worker.config.model import ServerConfig
    from runqy_worker.doctor.subject import Subject

_PORTS = {"http": 80, "https": 443}
_SOON = 14
"""Days before a certificate's end at which it is worth a warning."""
_ADVICE: Mapping[int | None, str] = {
    401: "compare the key with the server's; `runqy-worker instance add --force` stores a new one",
    403: "the key is a client's: use a worker's key",
    404: "define the queue on the server, or mend worker.queue",
}


async def look(subject: Subject) -> list[Finding]:
    """DNS, TCP, TLS, then the registration of each queue."""
    config = subject.config
    if config.local.queues_file:
        return [ok(f"none is needed: queues are defined in {config.local.queues_file}"), *await _answers(subject)]
    server = config.server
    if not server.api_key and subject.unread:
        return [note("not asked, since the key could not be read", "run this as root")]
    proxy = server.proxy or proxy_for(server.url, subject.environ)
    if not proxy:
        found = await in_daemon_thread(lambda: _reach(server, subject.environ), name="reach the server")
        if any(each.advice for each in found):
            return found
    else:
        found = [note("it is asked through a proxy, so its address was not tried directly")]
    return found + await _answers(subject)


async def _answers(subject: Subject) -> list[Finding]:
    found = []
    for queue, answer in (await subject.registrations()).items():
        if isinstance(answer, RunqyError):
            status = answer.status if isinstance(answer, RegistrationError) else None
            advice = _ADVICE.get(status, "mend that; the worker asks again by itself")
            found.append(problem(f"the queue {queue}: {answer}", advice))
        else:
            served = ", ".join(answer.weights)
            found.append(ok(f"the queue {queue} is known; it has {served}"))
    return found


def _reach(server: ServerConfig, environ: Mapping[str, str]) -> list[Finding]:
    """Blocking. Stops at the first step that fails."""
    parts = urlsplit(server.url)
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError as error:
        return [problem(f"the name {host} has no address: {error}", "mend server.url, or this host's DNS")]
    try:
        connection = socket.create_connection((host, port), timeout=server.timeout)
    except OSError as error:
        text = f"{host}:{port} ({', '.join(map(str, sorted(addresses)))}) can't be reached: {error}"
        return [problem(text, "start the server, mend server.url, or look for a firewall between")]
    with connection:
        if parts.scheme == "http":
            if _is_loopback(host):
                return [ok(f"{host}:{port} answers")]
            return [note(f"{host}:{port} answers; the key travels unencrypted, since server.url is http")]
        return [_handshake(connection, host, port, server.ca_file or environ.get("REQUESTS_CA_BUNDLE", ""))]


def _handshake(connection: socket.socket, host: str, port: int, ca_file: str) -> Finding:
    from certifi import where  # noqa: PLC0415 - only here; what requests trusts

    try:
        context = ssl.create_default_context(cafile=ca_file or where())
        with context.wrap_socket(connection, server_hostname=host) as secured:
            certificate = secured.getpeercert() or {}
            version = secured.version()
    except OSError as error:
        advice = "for a private CA set server.ca_file; else mend the server's certificate, or this host's clock"
        return problem(f"TLS with {host}:{port} fails: {error}", advice)
    days = int((ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) // 86400)
    if days < _SOON:
        return warning(f"the certificate of {host}:{port} ends in {days} days", "renew it on the server")
    return ok(f"{host}:{port} answers with {version}; its certificate ends in {days} days")


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"
