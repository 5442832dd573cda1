"""Hooks around each task, for users of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.outcome import Failed

if TYPE_CHECKING:
    from runqy_worker.domain.outcome import Outcome
    from runqy_worker.domain.task import Task


class Middleware(Protocol):
    """Sees every task before it runs and after it ended. Called on the event loop's thread: must not block.

    Several are nested: the first one given is the outermost.
    """

    def before(self, task: Task) -> Outcome | None:
        """Called before the task is handed to its process. An outcome settles it without running it."""

    def after(self, task: Task, outcome: Outcome) -> Outcome:
        """Called with the outcome; what it returns is settled."""


class Chain:
    """Several middlewares as one. A middleware that raises fails the task it was called for, and nothing else."""

    def __init__(self, middlewares: tuple[Middleware, ...]) -> None:
        self._middlewares = middlewares

    def __bool__(self) -> bool:
        return bool(self._middlewares)

    def before(self, task: Task) -> Outcome | None:
        """The first outcome that a middleware gives, outermost first."""
        for middleware in self._middlewares:
            try:
                outcome = middleware.before(task)
            except Exception as error:  # noqa: BLE001 - the boundary to user code: the task carries the error
                return _raised(middleware, error)
            if outcome is not None:
                return outcome
        return None

    def after(self, task: Task, outcome: Outcome) -> Outcome:
        """The outcome as every middleware passed it on, innermost first."""
        for middleware in reversed(self._middlewares):
            try:
                outcome = middleware.after(task, outcome)
            except Exception as error:  # noqa: BLE001 - the boundary to user code: the task carries the error
                outcome = _raised(middleware, error)
        return outcome


def _raised(middleware: Middleware, error: Exception) -> Failed:
    return Failed(f"middleware {type(middleware).__name__} raised {error!r}")
