"""One connection to Redis: strictly one exchange at a time, every one under a timeout, never a stale reply.

A connection whose exchange did not end cleanly (timeout, cancellation, network) is dropped, so that the next
exchange can't read the previous one's answer. The next call connects again; how often to try is the caller's.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from runqy_worker.backends.asynq.connecting import BROKEN, open_wire
from runqy_worker.backends.asynq.errors import FAREWELL, Refusal, code_of, needs_reconnect, translate
from runqy_worker.backends.asynq.scripts import source_of
from runqy_worker.backends.asynq.traffic import Traffic
from runqy_worker.domain.errors import BackendUnavailableError
from runqy_worker.domain.events import Level, Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runqy_worker.backends.asynq.options import RedisOptions
    from runqy_worker.backends.asynq.scripts import Arg
    from runqy_worker.backends.asynq.wire import Wire
    from runqy_worker.domain.events import Listener

_FOLLOW_FOR = 15.0
"""Seconds for which only the announced master is used. The Sentinels demote the old one after about ten."""
_PROBE_AFTER = 1.0
"""Seconds of silence after which a connection is checked for having been closed by the other side."""


class Link:
    """A connection that is made when it is needed.

    Attributes:
        name: What it is for; shown in CLIENT LIST as `runqy-worker:<name>`.
        connected_at: `time.monotonic()` when the present connection was made; 0 while there is none.
        client_id: The present connection's number on the server; 0 while there is none.
        traffic: What all its connections have seen.
    """

    def __init__(self, options: RedisOptions, name: str, *, listener: Listener) -> None:
        self.name = name
        self.connected_at = 0.0
        self.client_id = 0
        self.traffic = Traffic()
        self._options = options
        self._listener = listener
        self._wire: Wire | None = None
        self._lock = asyncio.Lock()
        self._used_at = 0.0
        self._followed = ""
        self._follow_until = 0.0

    def reconfigure(self, options: RedisOptions) -> None:
        """Use these options from the next connection on; the present one, if any, is kept."""
        self._options = options

    @property
    def where(self) -> str:
        """The server's address, for messages."""
        if self._wire is not None:
            return self._wire.where
        return self._options.sentinel_master or self._options.addr

    @property
    def patience(self) -> float:
        """Seconds that a reply may take."""
        return self._options.timeout

    async def connect(self) -> None:
        """Connect now unless connected. Raises `BackendUnavailableError` or `BackendAuthError`."""
        async with self._lock:
            await self._ready()

    async def call(self, *command: Arg, limit: float | None = None) -> Any:
        """Send one command and return its reply: bytes, int, None or lists of these.

        Args:
            command: The words; scripts by `Script.command`, unpacked.
            limit: Seconds for the reply, instead of the configured ones. For blocking commands.

        Raises:
            BackendUnavailableError: Not reachable, no reply in time, or no writes taken now.
            BackendAuthError: Credentials or permissions are refused.
            BackendError: Redis refused the command itself.
        """
        return (await self.pipeline((command,), limit=limit))[0]

    async def pipeline(
        self, commands: Sequence[Sequence[Arg]], *, limit: float | None = None, keep_errors: bool = False
    ) -> list[Any]:
        """Send all commands in one write and return all replies, in order.

        Scripts that Redis does not have are loaded and sent again; they had no effect before. When Redis refuses
        some of the commands, the first such error is raised after every reply was read; with `keep_errors` each
        stands in its place among the replies instead, as a `BackendError`, unless Redis hung up with it.

        Raises:
            BackendError: As `call`.
        """
        async with self._lock:
            replies = await self._exchange(commands, limit)
            missing = [at for at, reply in enumerate(replies) if _is_unknown_script(reply)]
            if missing:
                again = [commands[at] for at in missing]
                shas = dict.fromkeys(str(command[1]) for command in again)
                loads = [("SCRIPT", "LOAD", source_of(sha)) for sha in shas]
                late = await self._exchange([*loads, *again], limit)
                refused = next((reply for reply in late[: len(loads)] if isinstance(reply, Refusal)), None)
                for at, reply in zip(missing, late[len(loads) :], strict=True):
                    replies[at] = refused or reply
            errors = [reply for reply in replies if isinstance(reply, Refusal)]
            if not errors:
                return replies
            self.traffic.refusals += len(errors)
            where = self.where
            hung_up = code_of(errors[-1]) == FAREWELL
            if hung_up or any(needs_reconnect(code_of(error)) for error in errors):
                self._drop(str(errors[0]))
            if hung_up or not keep_errors:
                raise translate(errors[-1 if hung_up else 0], where) from None
            return [translate(reply, where) if isinstance(reply, Refusal) else reply for reply in replies]

    async def ask(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """All replies, as `pipeline` with `keep_errors` returns them, unless one says that Redis can't be asked now.

        Raises:
            BackendUnavailableError: Not reachable, no reply in time, or a command was not taken now.
        """
        replies = await self.pipeline(commands, keep_errors=True)
        for reply in replies:
            if isinstance(reply, BackendUnavailableError):
                raise reply
        return replies

    async def close(self) -> None:
        """Drop the connection, if any, after the exchange under way. A later call connects again."""
        async with self._lock:
            self._drop("")
        await asyncio.sleep(0)  # the loop closes the socket at its next turn

    async def abort(self) -> None:
        """Drop the connection at once; the exchange under way, if any, fails."""
        self._drop("")

    def follow(self, where: str) -> None:
        """Drop the connection at once, as `abort` does, unless it leads to this address, and for a while use no other.

        A Sentinel that hears of the new master late sends to the old one, which may still take itself for the master.
        It knows nothing of what was claimed on the new one, and would call its tokens void.
        """
        self._followed, self._follow_until = where, time.monotonic() + _FOLLOW_FOR
        if self._wire is not None and self._wire.where != where:
            self._drop(f"the master is at {where} now")

    async def _ready(self) -> Wire:
        wire = self._wire
        if wire is not None:
            silent = time.monotonic() - self._used_at >= _PROBE_AFTER
            if not (wire.is_spoilt() if silent else wire.lost.done()):
                return wire
            self._drop("closed by the server")
        try:
            self._wire = wire = await open_wire(self._options, self.name)
        except BROKEN as error:
            self.traffic.failures += 1
            raise translate(error, self.where) from None
        if wire.where != self._followed and time.monotonic() < self._follow_until:
            where = wire.where
            self._drop("")
            raise BackendUnavailableError(f"redis at {where} is not the master any more: that is at {self._followed}")
        self.connected_at = self._used_at = time.monotonic()
        self.client_id = wire.client_id
        self.traffic.connects += 1
        self._tell("redis_connected", f"Connected to redis at {wire.where}.")
        return wire

    async def _exchange(self, commands: Sequence[Sequence[Arg]], limit: float | None) -> list[Any]:
        """Replies in order; what Redis refused stands among them as a `Refusal`."""
        wire = await self._ready()
        began = time.monotonic()
        try:
            replies = await wire.exchange(commands, self._options.timeout if limit is None else limit)
        except BROKEN as error:
            self.traffic.failures += 1
            self._drop(str(error) or "no reply in time")
            raise translate(error, wire.where) from None
        except BaseException:
            self._drop("cancelled")
            raise
        self._used_at = ended = time.monotonic()
        self.traffic.round_trips.add(ended - began)
        return replies

    def _drop(self, reason: str) -> None:
        wire, self._wire = self._wire, None
        if wire is None:
            return
        self.connected_at = 0.0
        self.client_id = 0
        wire.abort()
        if reason:
            self._tell("redis_disconnected", f"The connection to redis at {wire.where} is gone: {reason}")

    def _tell(self, action: str, message: str) -> None:
        self._listener.notice(Notice(action, message, Level.DEBUG, fields={"connection": self.name}))


def _is_unknown_script(reply: object) -> bool:
    return isinstance(reply, Refusal) and code_of(reply) == "NOSCRIPT"
