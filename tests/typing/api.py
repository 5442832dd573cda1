"""The types that users of the library build on. mypy checks this file with everything else; nothing runs it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, assert_type

import runqy_worker
from runqy_worker import Worker, __version__, load_config
from runqy_worker.backends.memory import MemoryBackend, MemoryStore, StoredTask
from runqy_worker.config.model import Config
from runqy_worker.domain.errors import RunqyError
from runqy_worker.domain.events import Silent
from runqy_worker.domain.outcome import Completed, Failed, Outcome, Released, Revoked
from runqy_worker.domain.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from runqy_worker.domain.ports import Backend
    from runqy_worker.engine.middleware import Middleware
    from runqy_worker.engine.retrying import RetryDelay


class Timing:
    """What a user writes as middleware needs no base class."""

    def before(self, task: Task) -> Outcome | None:
        assert_type(task.id, str)
        assert_type(task.payload, bytes)
        assert_type(task.retried, int)
        return Failed("too large", retryable=False) if len(task.payload) > 10 else None

    def after(self, task: Task, outcome: Outcome) -> Outcome:
        match outcome:
            case Completed(result):
                assert_type(result, bytes | None)
            case Failed(error, retryable, death):
                assert_type((error, retryable, death), tuple[str, bool, bool])
            case Released() | Revoked():
                pass
        return outcome


def soon(retried: int, error: str, task: Task) -> float:
    return 2.0**retried + len(error) + len(task.payload)


def configuration(path: Path) -> None:
    assert_type(load_config(), Config)
    assert_type(load_config("config.yml"), Config)
    assert_type(load_config(path, environ={"RUNQY_QUEUES": "jobs"}, instance="a", allow_unknown=True), Config)
    assert_type(load_config(path).worker.concurrency, int)


def synchronous(config: Config) -> None:
    middleware: Sequence[Middleware] = [Timing()]
    delay: RetryDelay = soon
    worker = Worker(
        config,
        retry_delay=delay,
        logger=logging.getLogger("mine"),
        middleware=middleware,
        listeners=[Silent()],
        burst=True,
    )
    assert_type(worker, Worker)
    assert_type(worker.worker_id, str)
    calls: list[Callable[[], None]] = [
        worker.bootstrap,
        worker.run,
        worker.request_stop,
        worker.request_reload,
        worker.hurry,
        worker.quiet,
        worker.resume,
    ]
    for call in calls:
        call()


async def asynchronous(worker: Worker) -> None:
    calls: list[Callable[[], Coroutine[Any, Any, None]]] = [worker.start, worker.serve, worker.reload]
    for call in calls:
        await call()


async def test_double() -> None:
    store = MemoryStore()
    backend: Backend = MemoryBackend(store, {"emails.default": 1})
    assert_type(store.enqueue("emails.default", b"{}"), StoredTask)
    assert_type(await backend.claim(1), list[Task])


def names() -> None:
    assert_type(__version__, str)
    assert_type(runqy_worker.Worker, type[Worker])
    assert issubclass(RunqyError, Exception)


def refused(config: Config) -> None:
    """Each line is a mistake that the types must find: mypy reports an ignore that ignores nothing."""
    Worker("config.yml")  # type: ignore[arg-type]  # a path is not a configuration
    Worker(config, soon)  # type: ignore[call-arg]  # by keyword only
    Worker(config, retry_delay=lambda: 1.0)  # type: ignore[arg-type]  # takes three arguments
    Worker(config, middleware=[object()])  # type: ignore[list-item]  # has no `before`
    runqy_worker.Wroker(config)  # type: ignore[attr-defined]  # no such name
