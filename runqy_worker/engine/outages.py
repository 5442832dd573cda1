"""Patience with a backend that does not answer: jittered back-off, one notice per outage, new credentials."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from runqy_worker.domain.errors import BackendAuthError, BackendUnavailableError
from runqy_worker.domain.events import Level, Listener, Notice

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

FIRST_DELAY = 0.05
LONGEST_DELAY = 5.0


class Outages:
    """Repeats backend operations until they succeed.

    Args:
        listener: Hears when an outage begins and ends.
        rng: For the jitter.
        renew_credentials: Asked when the backend refuses our credentials, one call at a time; says whether there are
            new ones to try. May fail silently, it is called again.
    """

    def __init__(
        self,
        listener: Listener,
        rng: random.Random,
        renew_credentials: Callable[[], Coroutine[None, None, bool]] | None = None,
    ) -> None:
        self._listener = listener
        self._rng = rng
        self._renew_credentials = renew_credentials
        self._asking: asyncio.Task[bool] | None = None
        self._asked = asyncio.Event()
        self._down: set[str] = set()
        self._blocking: set[str] = set()
        self._told = False
        self._answers = asyncio.Event()
        self._tried_at: dict[str, float] = {}

    def tried_at(self, name: str) -> float:
        """When the operation was last begun, by the event loop's clock; -inf if never."""
        return self._tried_at.get(name, float("-inf"))

    @property
    def ongoing(self) -> bool:
        """Whether some operation is failing now."""
        return bool(self._down)

    async def until_done(
        self,
        name: str,
        operation: Callable[[], Awaitable[T]],
        give_up: Callable[[], bool] = lambda: False,
        *,
        longest_delay: float = LONGEST_DELAY,
        blocks: bool = False,
    ) -> T | None:
        """Await `operation()` again and again until it succeeds; None when `give_up()` said so after a failure.

        Operations are safe to repeat: the backend compares tokens. One that `blocks` while all is well can't tell the
        end of an outage: its failure is over as soon as another operation succeeds.
        """
        loop = asyncio.get_running_loop()
        series = _Series(longest_delay)
        while True:
            self._tried_at[name] = began = loop.time()
            try:
                result = await operation()
            except BackendUnavailableError as error:
                if loop.time() - began > LONGEST_DELAY:  # all was well for a while
                    series = _Series(longest_delay)
                if not (blocks and series.failures):
                    self._begin(name, error)
                if blocks:
                    self._blocking.add(name)
                if give_up():
                    return None
                await self._pause(error, series)
                if give_up():
                    return None
            except asyncio.CancelledError:
                self._down.discard(name)  # nobody wants it any more; the next operation that succeeds tells the end
                raise
            else:
                self._end(name)
                return result

    async def close(self) -> None:
        """Ask for no credentials any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _pause(self, error: BackendUnavailableError, series: _Series) -> None:
        """Wait before the next attempt; cut short by new credentials and, once in a series, by another's success.

        Raises what the request for credentials died of.
        """
        if isinstance(error, BackendAuthError):
            self._ask_for_credentials()
        delay = series.next_delay() * self._rng.uniform(0.5, 1.0)
        asked = asyncio.ensure_future(self._asked.wait())
        answers = None if series.hurried else asyncio.ensure_future(self._answers.wait())
        waits = [asked] if answers is None else [asked, answers]
        try:
            done, _ = await asyncio.wait(waits, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if answers in done:
            series.hurry()
        elif asked in done:
            series.begin_anew()
        self._take_note_of_asking()

    def _ask_for_credentials(self) -> None:
        """Ask in a task of its own: the control server may take long, and leases must be renewed meanwhile."""
        self._take_note_of_asking()
        if self._asking is None and self._renew_credentials is not None:
            self._asking = asyncio.create_task(self._renew_credentials(), name="credentials")
            self._asking.add_done_callback(self._hurry_all)

    def _hurry_all(self, asking: asyncio.Task[bool]) -> None:
        """The request is over: let those that pause now go on, unless it changed nothing."""
        if asking.cancelled():
            return
        error = asking.exception()
        if error is not None:
            self._listener.notice(Notice("credentials_died", f"asking for credentials ended: {error!r}", Level.ERROR))
        if error is not None or asking.result():
            asked, self._asked = self._asked, asyncio.Event()
            asked.set()

    def _take_note_of_asking(self) -> None:
        if self._asking is not None and self._asking.done():
            asking, self._asking = self._asking, None
            asking.result()

    def _begin(self, name: str, error: BackendUnavailableError) -> None:
        self._answers.clear()
        if not self._told:
            self._told = True
            refused = isinstance(error, BackendAuthError)
            action = "backend_refused" if refused else "backend_unavailable"
            message = f"the backend does not answer; trying again until it does: {error}"
            self._listener.notice(Notice(action, message, Level.WARNING, fields={"operation": name}))
        self._down.add(name)

    def _end(self, name: str) -> None:
        if not self._told:
            return
        self._answers.set()
        self._down.discard(name)
        self._down -= self._blocking
        if not self._down:
            self._told = False
            self._listener.notice(Notice("backend_back", "the backend answers again"))


class _Series:
    """Failures of one operation in a row.

    Attributes:
        failures: How many there were.
        hurried: The series went on early once, because the backend answered others.
    """

    __slots__ = ("_delay", "_longest", "failures", "hurried")

    def __init__(self, longest_delay: float) -> None:
        self._delay = FIRST_DELAY
        self._longest = longest_delay
        self.failures = 0
        self.hurried = False

    def next_delay(self) -> float:
        """Seconds until the next attempt, before jitter."""
        delay, self._delay = self._delay, min(self._delay * 2, self._longest)
        self.failures += 1
        return delay

    def hurry(self) -> None:
        """Begin anew with short delays; only once, since this operation alone may be what the backend refuses."""
        self.hurried = True
        self.begin_anew()

    def begin_anew(self) -> None:
        """Go on with short delays."""
        self._delay = FIRST_DELAY
