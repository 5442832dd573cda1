"""One registration call over HTTP, and what each way of failing means to the person who reads it."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from runqy_worker.deployment.redaction import Redactor
from runqy_worker.domain.errors import RegistrationError

if TYPE_CHECKING:
    from runqy_worker.config.model import ServerConfig

PATH = "/worker/register"
_LARGEST = 1024 * 1024
_CONNECT = 10.0
_SHOWN = 300
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """A raw HTTP answer."""

    status: int
    kind: str
    body: bytes


class _Bearer(requests.auth.AuthBase):
    """Sets the header itself: otherwise requests would put an entry of ~/.netrc in the key's place."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class RegisterCall:
    """The call, ready to be repeated. Blocking: run `send` in a thread.

    Args:
        server: Address, key, and how to reach it.
    """

    def __init__(self, server: ServerConfig) -> None:
        self._server = server
        self.url = server.url.rstrip("/") + PATH
        self.redact = Redactor(server.api_key, _password(server.url), _password(server.proxy))

    def send(self, body: dict[str, str]) -> Any:
        """Send it and return the decoded JSON of a good answer.

        Raises:
            RegistrationError: Anything else, with a message that says what to do. Never contains the key.
        """
        self._check_settings()
        try:
            answer = self._post(body)
        except requests.RequestException as error:
            raise self._unreachable(error) from None  # the cause may carry the key in its text
        if answer.status != HTTPStatus.OK:
            raise self._refused(answer, body["queue"])
        try:
            return json.loads(answer.body)
        except ValueError:
            raise RegistrationError(
                f"{self._where} answered with {self._looks(answer)}, expected JSON. "
                "Does server.url name the runqy server itself?",
                retryable=False,
                status=answer.status,
            ) from None

    def _check_settings(self) -> None:
        if not re.match(r"https?://[^/]", self._server.url):
            message = f"server.url is {self.redact(self._server.url)!r}, expected http://host or https://host"
            raise RegistrationError(message, retryable=False)
        key = self._server.api_key
        if not key:
            raise RegistrationError("server.api_key is empty, expected the worker key", retryable=False)
        if not (key.isascii() and key.isprintable() and key == key.strip()):
            message = "server.api_key contains spaces at its ends, line breaks or characters beyond ASCII"
            raise RegistrationError(message, retryable=False)

    def _post(self, body: dict[str, str]) -> Answer:
        timeout = self._server.timeout
        deadline = time.monotonic() + timeout
        proxy = self._server.proxy
        with (
            requests.Session() as session,
            session.post(
                self.url,
                json=body,
                auth=_Bearer(self._server.api_key),
                headers={"Accept": "application/json"},
                timeout=(min(_CONNECT, timeout), timeout),
                verify=self._server.ca_file or True,
                proxies={"http": proxy, "https": proxy} if proxy else None,
                allow_redirects=False,  # a redirected POST would become a GET, or carry the key elsewhere
                stream=True,
            ) as response,
        ):
            body_read = bytearray()
            for chunk in response.iter_content(1):  # larger ones are waited for in full, however slowly they come
                body_read += chunk
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout
                if len(body_read) > _LARGEST:
                    raise requests.RequestException(f"the answer is larger than {_LARGEST} bytes")
            location = response.headers.get("Location", "")
            kind = location or response.headers.get("Content-Type", "").split(";")[0]
            return Answer(response.status_code, kind, bytes(body_read))

    @property
    def _where(self) -> str:
        return self.redact(self.url)

    def _unreachable(self, error: requests.RequestException) -> RegistrationError:
        host = urlsplit(self.url).netloc.rpartition("@")[2]
        detail = self.redact(_innermost(error))
        if isinstance(error, requests.exceptions.SSLError):
            return RegistrationError(
                f"the TLS certificate of {host} is not accepted: {detail}. "
                "For a private CA set server.ca_file to its certificate"
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return RegistrationError(f"the proxy for {host} failed: {detail}. See server.proxy, HTTPS_PROXY")
        if isinstance(error, requests.Timeout):
            return RegistrationError(f"{self._where} gave no answer within {self._server.timeout:g} s")
        if isinstance(error, requests.ConnectionError):
            return RegistrationError(f"{host} can't be reached: {detail}. Is the runqy server up?")
        return RegistrationError(f"calling {self._where} failed: {detail}")

    def _refused(self, answer: Answer, queue: str) -> RegistrationError:
        status, said = answer.status, self._said(answer)
        if status == HTTPStatus.UNAUTHORIZED:
            text = f"{self._where} does not know the key (401){said}. Check server.api_key"
        elif status == HTTPStatus.FORBIDDEN:
            text = f"the key is not allowed to register workers at {self._where} (403){said}. A worker key is needed"
        elif status == HTTPStatus.NOT_FOUND:
            text = f"the queue {queue!r} is not known at {self._where} (404){said}"
        elif status == HTTPStatus.BAD_REQUEST:
            text = f"{self._where} refused the request for queue {queue!r} (400){said}"
        elif status in {301, 302, 303, 307, 308}:
            text = f"{self._where} redirects to {self.redact(answer.kind)} ({status}): set server.url to that server"
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return RegistrationError(f"{self._where} failed ({status}){said}", status=status)
        else:
            text = f"{self._where} answered with status {status}{said}"
        return RegistrationError(text, retryable=False, status=status)

    def _said(self, answer: Answer) -> str:
        """The server's own words, for the message."""
        try:
            document = json.loads(answer.body)
        except ValueError:
            return f" with {self._looks(answer)}" if answer.body.strip() else ""
        if not isinstance(document, dict):
            return ""
        errors = document.get("errors")
        words = errors if isinstance(errors, list) else [document.get("error", "")]
        text = "; ".join(str(word) for word in words if word)
        return f": {self.redact(text)[:_SHOWN]}" if text else ""

    def _looks(self, answer: Answer) -> str:
        text = answer.body.decode(errors="replace").strip()
        if text.startswith("<"):
            title = _TITLE.search(text)
            return "a web page" + (f" ({self.redact(title[1].strip())[:80]!r})" if title else "")
        return f"{self.redact(text)[:80]!r}" if text else "nothing"


def _password(address: str) -> str:
    found = re.search(r"//[^/@:]*:([^/@]*)@", address)
    return found[1] if found else ""


def _innermost(error: BaseException) -> str:
    """The system's own words below the library's wrappers."""
    seen: BaseException = error
    while True:
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(seen, "reason", None) or seen.__cause__ or seen.__context__
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen) or type(seen).__name__
