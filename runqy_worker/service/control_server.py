"""Serves the control socket on the worker's event loop.

Nobody who connects can hold the worker up: lines and connections are limited, who says nothing or reads nothing is
dropped, and who went away is noticed at the next line of progress.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from runqy_worker.domain.errors import ControlError, RunqyError
from runqy_worker.domain.events import Level, Notice
from runqy_worker.service.control_protocol import BEAT, LONGEST_REQUEST, decode_request, encode, refusal
from runqy_worker.service.unix_socket import Bound, Peer, bind, peer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from runqy_worker.domain.events import Listener

KEY = "control.socket"
"""The setting that names the path."""
MODE = 0o660
MOST_CONNECTIONS = 64
MOST_PER_USER = 16
"""So that task code, which runs under the worker's user, can't keep others out."""
PATIENCE = 15.0
"""Seconds that a client gets to say something, or to read what it was told."""
LAST_WORDS = 2.0
"""Seconds that answers get when the worker ends."""
_UNREAD = 64 * 1024
"""Bytes that may wait to be read before progress is left out."""
_KEEP_FILE: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
"""The file is removed here, after a look at whose it is by now."""


class Verb(NamedTuple):
    """Something that can be asked for.

    Attributes:
        act: Does it: `await act(request, tell)` gives the final line's keys; `tell(progress)` may be called meanwhile.
            Raises `ControlError` for what can't be done.
        changes: Whether it does more than look.
    """

    act: Callable[[Mapping[str, Any], Callable[[Mapping[str, Any]], None]], Awaitable[Mapping[str, Any]]]
    changes: bool = False


class Rights(NamedTuple):
    """Who may do what. Who may connect at all is decided by the file's owner, group and mode.

    Attributes:
        own_user: Whether the worker's own user, under which task code runs too, may change anything.
        own_uid: That user.
    """

    own_user: bool
    own_uid: int

    def may_change(self, uid: int) -> bool:
        """Whether this user may do more than look: root, and any member of the group, may."""
        return uid == 0 or uid != self.own_uid or self.own_user


class ControlServer:
    """The server.

    Args:
        verbs: What can be asked for.
        rights: Who may.
        program: This program's version, for those who speak another language.
        listener: Hears who asked for changes, and of faults.
    """

    def __init__(self, verbs: Mapping[str, Verb], *, rights: Rights, program: str, listener: Listener) -> None:
        self._verbs = verbs
        self._rights = rights
        self._program = program
        self._listener = listener
        self._bound: Bound | None = None
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self._at_work: set[asyncio.Task[None]] = set()
        self._users: Counter[int] = Counter()
        self._closing = False

    async def open(self, path: Path) -> None:
        """Listen at `path`; its directory exists.

        Raises:
            ListenError: The path is taken, or the system refuses.
        """
        self._bound = bind(path, MODE, KEY)
        self._server = await asyncio.start_unix_server(
            self._talk, sock=self._bound.socket, limit=LONGEST_REQUEST, **_KEEP_FILE
        )

    async def close(self) -> None:
        """Listen no more; requests that are worked on get a moment for their answers."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        if self._bound is not None:
            self._bound.remove()
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=LAST_WORDS)
        for talk in self._talks:
            talk.cancel()
        if self._talks:
            await asyncio.wait(self._talks)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        talk = asyncio.current_task()
        if talk is None:
            raise RuntimeError("a connection is served by a task")
        peer = peer_of(writer.get_extra_info("socket"))
        self._talks.add(talk)
        self._users[peer.uid] += 1
        try:
            self._check_room(peer)
            while not self._closing and (line := await _line(reader)):
                self._at_work.add(talk)
                await self._serve(line, peer, writer)
                self._at_work.discard(talk)
        except (ConnectionError, TimeoutError):
            return  # it went away, or says or reads nothing
        except asyncio.CancelledError:
            return  # the worker ends
        except ControlError as error:
            await _last_word(writer, refusal(error, self._program))
        finally:
            await _part(writer)
            self._talks.discard(talk)
            self._at_work.discard(talk)
            self._users[peer.uid] -= 1

    def _check_room(self, peer: Peer) -> None:
        if len(self._talks) > MOST_CONNECTIONS or self._users[peer.uid] > MOST_PER_USER:
            message = f"too many are connected ({MOST_CONNECTIONS} may be, {MOST_PER_USER} of one user): try again"
            raise ControlError(message, reason="busy")

    async def _serve(self, line: bytes, peer: Peer, writer: asyncio.StreamWriter) -> None:
        """One request."""
        try:
            request = decode_request(line)
            verb = self._allowed(request, peer)
            answer = await self._work(verb, request, writer)
        except ControlError as error:
            answer = refusal(error, self._program)
        except RunqyError as error:
            answer = refusal(ControlError(str(error), reason="failed"), self._program)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: who asks gets an answer, and the worker goes on
            message = f"a fault of the worker while it was asked for something: {error!r}"
            self._listener.notice(Notice("control_failed", message, Level.ERROR))
            answer = refusal(ControlError(message, reason="fault"), self._program)
        await _say(writer, answer)

    def _allowed(self, request: Mapping[str, Any], peer: Peer) -> Verb:
        name = request["verb"]
        verb = self._verbs.get(name)
        if verb is None:
            known = ", ".join(sorted(self._verbs))
            message = f"this worker (runqy-worker {self._program}) does not know {name!r:.80}; it knows {known}"
            raise ControlError(message, reason="verb")
        if not verb.changes:
            return verb
        if not self._rights.may_change(peer.uid):
            message = (
                f"user {peer.uid} is the worker's own, under which task code runs, and may only look "
                "(control.own_user is false); root and the members of the socket's group may do more"
            )
            raise ControlError(message, reason="forbidden")
        fields = {"verb": name, "uid": peer.uid, "pid": peer.pid}
        self._listener.notice(Notice("control_asked", f"user {peer.uid} asks for {name}", fields=fields))
        return verb

    async def _work(self, verb: Verb, request: Mapping[str, Any], writer: asyncio.StreamWriter) -> dict[str, Any]:
        def tell(progress: Mapping[str, Any]) -> None:
            if not writer.is_closing() and writer.transport.get_write_buffer_size() < _UNREAD:
                writer.write(encode({"final": False, "progress": progress}))

        loop = asyncio.get_running_loop()
        began = loop.time()
        work = asyncio.ensure_future(verb.act(request, tell))
        try:
            while not (await asyncio.wait([work], timeout=BEAT))[0]:
                progress = {"action": "waiting", "seconds": round(loop.time() - began)}
                await _say(writer, {"final": False, "progress": progress})
        except BaseException:
            work.cancel()
            await asyncio.wait([work])
            raise
        return {"final": True, "ok": True, **work.result()}


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next request, also without a line break at the end of all; empty at the end. Raises what `_talk` handles."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.readline()
    except ValueError:
        raise ControlError(f"found more than {LONGEST_REQUEST} bytes in one line", reason="request") from None


async def _say(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    """Send a line. Raises `ConnectionError` or `TimeoutError` when nobody reads it."""
    writer.write(encode(message))
    async with asyncio.timeout(PATIENCE):
        await writer.drain()


async def _last_word(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    try:
        await _say(writer, message)
    except (ConnectionError, TimeoutError):
        return


async def _part(writer: asyncio.StreamWriter) -> None:
    """Close the connection once all is read, or soon anyway."""
    writer.close()
    try:
        async with asyncio.timeout(LAST_WORDS):
            await writer.wait_closed()
    except (ConnectionError, TimeoutError):
        writer.transport.abort()
