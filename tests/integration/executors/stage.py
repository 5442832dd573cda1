"""Executors with real processes: an actor that does what payloads say, and a recorder of all that is reported."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from runqy_worker.config.model import ProcessConfig, RecoveryConfig
from runqy_worker.domain.clock import SystemClock
from runqy_worker.domain.events import Notice, Silent
from runqy_worker.domain.launch import Launch, Mode
from runqy_worker.domain.outcome import Completed, Failed, Outcome
from runqy_worker.domain.task import Task
from runqy_worker.executors.factory import SwitchableExecutor, make_executor

if TYPE_CHECKING:
    from collections.abc import Callable

ACTOR = Path(__file__).with_name("actor.py")
_numbers = itertools.count(1)


def actor_launch(directory: Path, *, mode: Mode = Mode.LONG_RUNNING, **options: object) -> Launch:
    """Starts the actor with these options; `startup_timeout`, `secrets` and `release` are the launch's own."""
    own = {key: options.pop(key) for key in ("startup_timeout", "secrets", "release", "env") if key in options}
    env = {"PATH": os.environ["PATH"], "CUDA_VISIBLE_DEVICES": "", **own.pop("env", {})}  # type: ignore[dict-item]
    argv = (sys.executable, "-ISu", str(ACTOR), json.dumps(options))
    launch = Launch(argv, directory, env, mode=mode, startup_timeout=20)
    return replace(launch, **own)  # type: ignore[arg-type]  # checked by the dataclass's own fields


def make_task(
    do: str = "echo", *, task_id: str = "", timeout: float = 0, deadline: float = 0, **payload: object
) -> Task:
    """A task that makes the actor do something."""
    number = next(_numbers)
    body = json.dumps({"do": do, **payload}).encode()
    return Task(
        task_id or f"task-{number}", "job", body, "q.default", timeout=timeout, deadline=deadline, token=f"me/{number}"
    )


class Mark:
    """A file through which a test and its processes talk: they wait for it, or append words to it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def put(self) -> None:
        """Let it exist."""
        self._path.touch()

    def remove(self) -> None:
        """Let it not exist."""
        self._path.unlink()

    def words(self) -> list[str]:
        """What was appended so far."""
        return self._path.read_text().split() if self._path.exists() else []


@dataclass
class Recorder(Silent):
    """Sink and listener: keeps what is reported, and waits for it."""

    outcomes: list[tuple[Task, Outcome]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    output: list[tuple[str | None, str, str]] = field(default_factory=list)
    rooms: list[int] = field(default_factory=list)
    on_finished: Callable[[Task, Outcome], None] | None = None
    executor: SwitchableExecutor | None = None

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()

    def finished(self, task: Task, outcome: Outcome) -> None:
        self.outcomes.append((task, outcome))
        if self.on_finished is not None:
            self.on_finished(task, outcome)
        self._changed.set()

    def state_changed(self) -> None:
        if self.executor is not None:
            self.rooms.append(self.executor.room())
        self._changed.set()

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)
        self._changed.set()

    def task_output(self, task: Task | None, stream: str, line: str) -> None:
        self.output.append((task.id if task else None, stream, line))
        self._changed.set()

    async def until(self, condition: Callable[[], object], within: float = 20) -> None:
        """Wait until the condition holds; it is looked at again after each report, and now and then."""
        async with asyncio.timeout(within):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.02)

    async def outcome(self, task: Task) -> Outcome:
        """What became of the task."""
        await self.until(lambda: any(done is task for done, _ in self.outcomes))
        return next(outcome for done, outcome in self.outcomes if done is task)

    async def result(self, task: Task) -> Any:
        """The task's result, which it must have."""
        outcome = await self.outcome(task)
        assert isinstance(outcome, Completed), outcome
        return json.loads(outcome.result or b"null")

    async def failure(self, task: Task) -> Failed:
        """The task's failure, which it must have."""
        outcome = await self.outcome(task)
        assert isinstance(outcome, Failed), outcome
        return outcome

    def actions(self) -> list[str]:
        """What kinds of notices came."""
        return [notice.action for notice in self.notices]


@dataclass
class Stage:
    """Makes executors for a test, and stops them after it."""

    directory: Path
    executors: list[SwitchableExecutor] = field(default_factory=list)

    def make(
        self,
        launch: Launch,
        *,
        concurrency: int = 1,
        process: dict[str, Any] | None = None,
        recovery: dict[str, Any] | None = None,
    ) -> tuple[SwitchableExecutor, Recorder]:
        """An executor that is attached to a recorder and not started; graces are short unless given."""
        graces: dict[str, Any] = {"stop_grace": 2.0, "timeout_grace": 0.3, "cancel_grace": 0.3}
        recorder = Recorder()
        executor = make_executor(
            launch,
            concurrency=concurrency,
            process=ProcessConfig(**{**graces, **(process or {})}),
            recovery=RecoveryConfig(**{"initial_delay": 0.02, "max_delay": 0.1, **(recovery or {})}),
            listener=recorder,
            clock=SystemClock(),
            rng=random.Random(1),
            state_dir=self.directory / "state",
        )
        recorder.executor = executor
        executor.attach(recorder)
        self.executors.append(executor)
        return executor, recorder

    async def start(self, launch: Launch, **settings: Any) -> tuple[SwitchableExecutor, Recorder]:
        """An executor that is ready."""
        executor, recorder = self.make(launch, **settings)
        await executor.start()
        return executor, recorder

    async def actor(
        self,
        *,
        mode: Mode = Mode.LONG_RUNNING,
        concurrency: int = 1,
        process: dict[str, Any] | None = None,
        recovery: dict[str, Any] | None = None,
        **options: Any,
    ) -> tuple[SwitchableExecutor, Recorder]:
        """An executor that is ready, with an actor that was given these options."""
        if options.get("threads"):
            options.setdefault("concurrency", concurrency)
        launch = actor_launch(self.directory, mode=mode, **options)
        return await self.start(launch, concurrency=concurrency, process=process, recovery=recovery)

    async def one_shot(self, **settings: Any) -> tuple[SwitchableExecutor, Recorder]:
        """The same with a fresh actor for each task."""
        return await self.actor(mode=Mode.ONE_SHOT, **settings)

    def mark(self, name: str) -> Mark:
        """A file of the test's directory."""
        return Mark(self.directory / name)


def is_ours(process: psutil.Process, directory: Path) -> bool:
    """Whether a process belongs to the test that works in this directory; zombies belong to every test."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or process.cwd() == str(directory)
    except psutil.Error:
        return False


async def freeze(pid: int) -> None:
    """Stop a process where it is: it reads nothing any more."""
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


def alive(pid: int) -> bool:
    """Whether a process runs, be it nobody's child."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
