"""Turns signals into calls on the event loop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class SignalRouter:
    """While entered, signals call these functions, each from the event loop and never inside a signal handler.

    Must be entered in the main thread. On leaving, the handlers from before are back.

    Args:
        loop: The running event loop.
        on_stop: First SIGTERM or SIGINT: drain, then exit.
        on_hurry: Every further one: don't wait for running tasks.
        on_quiet: SIGTSTP: claim nothing until SIGCONT.
        on_resume: SIGCONT.
        on_reload: SIGHUP.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_stop: Callable[[], object],
        on_hurry: Callable[[], object],
        on_quiet: Callable[[], object],
        on_resume: Callable[[], object],
        on_reload: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._on_stop = on_stop
        self._on_hurry = on_hurry
        self._stopping = False
        self._before: dict[signal.Signals, Any] = {}
        self._routes = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGTSTP: on_quiet,
            signal.SIGCONT: on_resume,
            signal.SIGHUP: on_reload,
        }

    def __enter__(self) -> Self:
        for signum, callback in self._routes.items():
            self._before[signum] = signal.getsignal(signum)
            self._loop.add_signal_handler(signum, callback)
        return self

    def __exit__(self, *_exc: object) -> None:
        for signum, handler in self._before.items():
            self._loop.remove_signal_handler(signum)
            # None stands for a handler that was not installed from Python and can't be put back.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _stop(self) -> None:
        if self._stopping:
            self._on_hurry()
        else:
            self._stopping = True
            self._on_stop()
