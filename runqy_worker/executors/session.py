"""A process that speaks the protocol: started until it says that it is ready, then heard line by line."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.executors.exits import describe_death
from runqy_worker.executors.lines import LineSplitter
from runqy_worker.executors.output import Masker, OutputLog
from runqy_worker.executors.process import Process
from runqy_worker.executors.protocol import ErrorSignal, ReadySignal, read_signal

if TYPE_CHECKING:
    from runqy_worker.domain.launch import Launch
    from runqy_worker.domain.task import Task
    from runqy_worker.executors.context import Context

LAST_WORDS = 1.0
"""Seconds that a process gets to end by itself after it reported that it can't start."""
STDERR_LINE = 64 * 1024
"""Bytes of a line on stderr that are kept."""


class SessionOwner(Protocol):
    """Hears of a process that is ready."""

    def lines(self, lines: list[bytes]) -> None:
        """It printed whole lines to stdout."""

    def at_work(self) -> Task | None:
        """The task that it works on, if it is known to be a single one."""

    def broken(self) -> None:
        """It can't be talked to any more and is being ended; `gone` follows."""

    def gone(self, death: str) -> None:
        """It ended after it had been ready; `death` says how, as the beginning of a sentence."""


class Session:
    """One process from its start to its end.

    Args:
        launch: How to start it.
        owner: Hears of it once it is ready.
        context: What the executor's processes share.

    Attributes:
        output: What it printed.
        masker: Hides the launch's secrets.
        asked: Why it was ended by us; empty while it was not.
    """

    def __init__(self, launch: Launch, owner: SessionOwner, context: Context) -> None:
        self._launch = launch
        self._owner = owner
        self._context = context
        self.masker = Masker(launch.secrets)
        self.output = OutputLog(context.listener, context.output_limit, self.masker)
        self.asked = ""
        self._broke = ""
        self._is_ready = False
        self._stdout = LineSplitter(context.process.max_line)
        self._stderr = LineSplitter(STDERR_LINE)
        self._process = Process(self, context.records, context.starter)
        self._ready: asyncio.Future[ReadySignal] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        """Of the process; 0 before it was started."""
        return self._process.pid

    @property
    def ending(self) -> bool:
        """Whether it is being ended, or can't be talked to any more."""
        return bool(self.asked or self._broke)

    @property
    def skipping(self) -> bool:
        """Whether the process is still printing a line that is too long."""
        return self._stdout.skipping

    async def start(self) -> ReadySignal:
        """Start it and wait until it is ready.

        Raises:
            ExecutorStartError: It did not start, ended, reported an error, or took longer than the startup timeout.
                The process is gone then.
        """
        self._context.live.add(self)
        self._process.gone.add_done_callback(lambda _gone: self._context.live.discard(self))
        try:
            async with asyncio.timeout(self._launch.startup_timeout):
                await self._process.start(self._launch)
                return await self._ready
        except TimeoutError:
            error = f"the process was not ready within {self._launch.startup_timeout:g} s{self.output.ending()}"
            await self._give_up()
        except ExecutorStartError as failure:
            error = str(failure)
            with contextlib.suppress(TimeoutError):  # it knows that it failed: let it say why, and end by itself
                async with asyncio.timeout(LAST_WORDS):
                    await self.wait_gone()
            await self._give_up()
        except asyncio.CancelledError:
            self._ready.cancel()
            self.end(0, "no longer wanted")
            raise
        raise ExecutorStartError(self.masker.mask(error), output=tuple(self.output.tail))

    def send(self, data: bytes) -> None:
        """Write to its stdin; never blocks."""
        self._process.write(data)

    def unread(self) -> int:
        """Bytes sent that it surely did not read."""
        return self._process.unread()

    def finish_input(self) -> None:
        """Close its stdin."""
        self._process.close_stdin()

    def end(self, grace: float, why: str) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""
        self.asked = self.asked or why
        self._process.end(grace)

    async def wait_gone(self) -> None:
        """Until it and its process group have ended."""
        await asyncio.shield(self._process.gone)

    def stdout_data(self, data: bytes) -> None:
        """It wrote to stdout (`ProcessOwner`)."""
        skipped = self._stdout.skipping
        lines = self._stdout.feed(data)
        if lines or (skipped and not self._stdout.skipping):  # the end of a line that is too long matters too
            self._hear(lines)

    def stderr_data(self, data: bytes) -> None:
        """It wrote to stderr (`ProcessOwner`)."""
        task = self._owner.at_work()
        for line in self._stderr.feed(data):
            if line:
                self.output.line("stderr", line, task)

    def process_broke(self, how: str) -> None:
        """It can't be talked to any more (`ProcessOwner`): not asked to end, but helped."""
        self._broke = how
        self._process.end(self._context.process.stop_grace)
        if self._is_ready:
            self._owner.broken()

    def process_gone(self, returncode: int) -> None:
        """It ended (`ProcessOwner`)."""
        lines = self._stdout.finish()
        if lines:
            self._hear(lines)
        for line in self._stderr.finish():
            self.output.line("stderr", line, self._owner.at_work())
        death = describe_death(returncode, self._broke)
        if self._is_ready:
            self._owner.gone(death)
        else:
            self._fail(f"{death} before it was ready{self.output.ending()}")

    def _hear(self, lines: list[bytes]) -> None:
        if self._is_ready:
            self._owner.lines(lines)
            return
        for number, line in enumerate(lines):
            signal = read_signal(line)
            if isinstance(signal, ReadySignal) and not self._ready.done():
                self._is_ready = True
                self._ready.set_result(signal)
                if lines[number + 1 :]:
                    self._owner.lines(lines[number + 1 :])
                return
            if isinstance(signal, ErrorSignal):
                self._fail(f"the process could not start: {signal.error}")
            elif line:
                self.output.line("stdout", line, None)

    def _fail(self, error: str) -> None:
        if not self._ready.done():
            self._ready.set_exception(ExecutorStartError(error))

    async def _give_up(self) -> None:
        """End it, and wait until nothing of it is left."""
        self._ready.cancel()
        self.end(self._context.process.stop_grace, "did not become ready")
        await self.wait_gone()
