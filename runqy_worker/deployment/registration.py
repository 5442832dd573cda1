"""Registering with the control server: one call, and the patience around it."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from runqy_worker.deployment.answer_parser import parse_registration
from runqy_worker.deployment.threads import in_daemon_thread
from runqy_worker.domain.errors import RegistrationError
from runqy_worker.domain.events import Level, Listener, Notice, Silent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runqy_worker.config.model import BootstrapConfig, ServerConfig
    from runqy_worker.deployment.answer import Registration

_LONGEST_DELAY = 300.0
_SHORTEST_ROUND_DELAY = 5.0
_REFUSED_DELAY = 30.0


class Registers(Protocol):
    """What tells a worker about its queues: the control server, or a local file."""

    async def register(self, queue: str) -> Registration:
        """The registration for `queue`, with all the patience that is configured. Raises `RegistrationError`."""

    async def once(self, queue: str) -> Registration:
        """The same with a single attempt, for reloads and new credentials. Raises `RegistrationError`."""


class Registrar:
    """Registers with the control server.

    Args:
        server: Where it is, and the key.
        bootstrap: How patient to be.
        listener: Hears of failed attempts.
        version: This worker's version, told to the server.
        hostname: This host's name, told to the server.
        rng: Source of the jitter.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        server: ServerConfig,
        bootstrap: BootstrapConfig,
        *,
        listener: Listener | None = None,
        version: str = "",
        hostname: str = "",
        rng: random.Random | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._bootstrap = bootstrap
        self._listener = listener or Silent()
        self._version = version
        self._hostname = hostname or socket.gethostname()
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._sleep = sleep
        from runqy_worker.deployment.register_call import RegisterCall  # noqa: PLC0415 - with it comes all of requests

        self._call = RegisterCall(server)

    async def once(self, queue: str) -> Registration:
        """Ask a single time.

        Raises:
            RegistrationError: It was refused, can't be reached, or its answer can't be used.
        """
        try:
            return await self._ask(queue, queue)
        except RegistrationError as error:
            current = queue.replace(":", ".", 1)  # older documents write `:`, which newer servers refuse
            if current == queue or error.status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
                raise
        return await self._ask(queue, current)

    async def _ask(self, queue: str, spelled: str) -> Registration:
        body = {
            "queue": spelled,
            "hostname": self._hostname,
            "os": os.uname().sysname.lower(),
            "version": self._version,
        }
        document = await in_daemon_thread(lambda: self._call.send(body), name="register")
        try:
            return parse_registration(document, queue=queue)
        except RegistrationError as error:
            message = self._call.redact(f"{self._call.url}: {error}")
            raise RegistrationError(message, retryable=error.retryable, status=error.status) from None

    async def register(self, queue: str) -> Registration:
        """Ask until there is an answer: rounds of attempts, with a growing delay between rounds.

        A refusal ends its round at once, since the next attempt would meet the same one, but it may heal (a key
        is added, a queue is created), so the rounds go on with long delays.

        Raises:
            RegistrationError: Only with `bootstrap.give_up`, after the first round.
        """
        rounds = 0
        while True:
            try:
                return await self._round(queue)
            except RegistrationError as error:
                if self._bootstrap.give_up:
                    raise
                rounds += 1
                delay = self._between_rounds(rounds, refused=not error.retryable)
                self._tell(
                    "registration_waiting", f"registering {queue!r} failed; trying again in {delay:.0f} s", error
                )
            await self._sleep(delay)

    async def _round(self, queue: str) -> Registration:
        attempts = self._bootstrap.retries
        for attempt in range(1, attempts + 1):
            try:
                return await self.once(queue)
            except RegistrationError as error:
                if not error.retryable or attempt == attempts:
                    raise
                message = f"registering {queue!r}: attempt {attempt} of {attempts} failed"
                self._tell("registration_failed", message, error)
            await self._sleep(self._jittered(self._bootstrap.retry_delay))
        raise AssertionError("retries is at least 1")  # pragma: no cover - the configuration has a minimum

    def _between_rounds(self, rounds: int, *, refused: bool) -> float:
        base = max(self._bootstrap.retry_delay, _REFUSED_DELAY if refused else _SHORTEST_ROUND_DELAY)
        return self._jittered(min(_LONGEST_DELAY, base * 2.0 ** min(rounds, 10)))

    def _jittered(self, delay: float) -> float:
        return delay * self._rng.uniform(0.75, 1.25)

    def _tell(self, action: str, message: str, error: RegistrationError) -> None:
        fields = {"error": str(error), "status": error.status}
        self._listener.notice(Notice(action, f"{message}: {error}", Level.WARNING, fields=fields))
