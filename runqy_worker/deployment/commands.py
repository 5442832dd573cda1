"""Running the commands of a deploy: output as it comes, a time limit, and nothing left behind.

Each command is the leader of its own process group, so that ending it also ends what it started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runqy_worker.deployment.orphans import end_with
from runqy_worker.deployment.redaction import Redactor
from runqy_worker.domain.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHUNK = 65536
_TAIL = 40
_LONGEST_LINE = 2000
_TERM_GRACE = 5.0
_PIPE_GRACE = 2.0
_FIRST_EXIT_POLL = 0.0005
_EXIT_POLL = 0.05
_CPU_EVERY = 2.0


class OnLine(Protocol):
    """Hears each line of output, redacted; `transient` when the next one replaces it (a progress figure)."""

    def __call__(self, text: str, transient: bool, /) -> None:
        """Take one line."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended.

    Attributes:
        returncode: Its exit status; negative for a signal.
        stdout: What it printed on stdout, when that was captured.
        tail: Its last lines of output, redacted, oldest first.
    """

    returncode: int
    stdout: str
    tail: tuple[str, ...]


class Activity:
    """When a deploy last showed life: output, or processor time used by its commands.

    Attributes:
        last: Monotonic seconds.
    """

    def __init__(self) -> None:
        self.last = time.monotonic()

    def beat(self) -> None:
        """Something moved."""
        self.last = time.monotonic()


class LineSplitter:
    """Cuts a stream of bytes into lines at line feeds and carriage returns; overlong lines are cut short."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[str, bool]]:
        """The lines completed by `data`, each with whether a carriage return ended it."""
        lines: list[tuple[str, bool]] = []
        parts = (self._rest + data).replace(b"\r\n", b"\n").splitlines(keepends=True)
        self._rest = b""
        for part in parts:
            if part.endswith((b"\n", b"\r")):
                lines.append((_text(part), part.endswith(b"\r")))
            else:
                self._rest = part[: 4 * _LONGEST_LINE]
        return [line for line in lines if line[0]]

    def rest(self) -> str:
        """What stood after the last line end."""
        text, self._rest = _text(self._rest), b""
        return text


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how. Never through a shell.

    Attributes:
        argv: Program and arguments. Never secrets: every user of the host can read them.
        step: Names the step of the deploy in errors.
        cwd: Where it starts.
        env: Its whole environment.
        timeout: Seconds it may take.
        capture: Keep stdout for the result instead of reporting it line by line.
    """

    argv: Sequence[str]
    step: str
    cwd: Path
    env: Mapping[str, str]
    timeout: float
    capture: bool = False

    @property
    def name(self) -> str:
        """Short name for messages: the program and its first plain words."""
        words = [Path(self.argv[0]).name]
        words += [word for word in self.argv[1:] if word.isalpha()][:2]
        return " ".join(words)


async def run(
    command: Command,
    *,
    on_line: OnLine | None = None,
    redact: Redactor | None = None,
    activity: Activity | None = None,
) -> CommandResult:
    """Run a command to its end. Whatever its exit status, it is the caller's to judge.

    Raises:
        DeploymentError: It could not be started, or its time was up; its process group is gone then.
    """
    process = await _start(command)
    output = _Output(on_line, redact or Redactor(), activity)
    assert process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - both are pipes
    readers = [
        asyncio.create_task(output.collect(process.stdout) if command.capture else output.report(process.stdout)),
        asyncio.create_task(output.report(process.stderr)),
    ]
    if activity is not None:
        readers.append(asyncio.create_task(_watch_cpu(process.pid, activity)))
    try:
        async with asyncio.timeout(command.timeout):
            await _finish(process, readers[:2])
    except TimeoutError:
        await _end(process)
        message = f"`{command.name}` took longer than {command.timeout:g} s and was ended"
        raise DeploymentError(with_tail(message, output.tail), step=command.step) from None
    except asyncio.CancelledError:
        await _end(process)
        raise
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else closes pipes that a stray process holds
    assert process.returncode is not None  # noqa: S101 - it was waited for
    return CommandResult(process.returncode, output.captured(), tuple(output.tail))


def with_tail(message: str, tail: Sequence[str], *, lines: int = 10) -> str:
    """The message, followed by the last lines of a command's output."""
    shown = [line for line in tail if line.strip()][-lines:]
    return "\n  | ".join([message, *shown])


class _Output:
    def __init__(self, on_line: OnLine | None, redact: Redactor, activity: Activity | None) -> None:
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self._on_line = on_line
        self._redact = redact
        self._activity = activity
        self._chunks: list[bytes] = []

    def captured(self) -> str:
        return b"".join(self._chunks).decode(errors="replace")

    async def collect(self, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(_CHUNK):
            self._chunks.append(data)
            self._beat()

    async def report(self, stream: asyncio.StreamReader) -> None:
        splitter = LineSplitter()
        while data := await stream.read(_CHUNK):
            self._beat()
            for text, transient in splitter.feed(data):
                self._line(text, transient)
        if rest := splitter.rest():
            self._line(rest, transient=False)

    def _line(self, text: str, transient: bool) -> None:
        text = self._redact(text)
        if not transient:
            self.tail.append(text)
        if self._on_line is not None:
            self._on_line(text, transient)

    def _beat(self) -> None:
        if self._activity is not None:
            self._activity.beat()


async def _start(command: Command) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command.argv,
            cwd=command.cwd,
            env=dict(command.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=partial(end_with, os.getpid()),
        )
    except OSError as error:
        message = f"`{command.argv[0]}` can't be started in {command.cwd}: {error.strerror or error}"
        raise DeploymentError(message, step=command.step, retryable=False) from error


async def _finish(process: asyncio.subprocess.Process, readers: Sequence[asyncio.Task[None]]) -> None:
    """Read to the end. Background processes that keep the pipes open are ended, not waited for."""
    unread = set(readers)
    while unread and process.returncode is None:
        _, unread = await asyncio.wait(unread, timeout=_EXIT_POLL)
    if unread:
        _, unread = await asyncio.wait(unread, timeout=_PIPE_GRACE)
    if unread:
        _signal(process, signal.SIGKILL)
        await asyncio.wait(unread, timeout=_PIPE_GRACE)
    await _exited(process)


async def _exited(process: asyncio.subprocess.Process) -> None:
    """Wait for the process itself; asyncio's own `wait` also waits for whoever else has the pipes open."""
    pause = _FIRST_EXIT_POLL  # as a rule it ends right after it closed its pipes
    while process.returncode is None:  # asyncio tells of the bare exit in no other way
        await asyncio.sleep(pause)
        pause = min(2 * pause, _EXIT_POLL)


async def _end(process: asyncio.subprocess.Process) -> None:
    _signal(process, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_TERM_GRACE):
            await _exited(process)
    _signal(process, signal.SIGKILL)
    await _exited(process)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


async def _watch_cpu(pid: int, activity: Activity) -> None:
    before = 0.0
    while True:
        await asyncio.sleep(_CPU_EVERY)
        used = await asyncio.to_thread(_cpu_seconds, pid)
        if used > before:
            activity.beat()
        before = used


def _cpu_seconds(pid: int) -> float:
    import psutil  # noqa: PLC0415 - only commands that take long get here

    total = 0.0
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def _text(part: bytes) -> str:
    return part.decode(errors="replace").rstrip()[:_LONGEST_LINE]
