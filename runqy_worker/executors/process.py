"""One process of the operating system: its pipes, its process group, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Protocol

from runqy_worker.domain.errors import ExecutorStartError
from runqy_worker.executors.exit_watch import watch_exit
from runqy_worker.executors.forker import ForkerLostError
from runqy_worker.executors.groups import group_lives, signal_group
from runqy_worker.executors.output_pipe import OutputPipe
from runqy_worker.executors.stdin import StdinPipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.launch import Launch
    from runqy_worker.executors.reaper import ChildRecords
    from runqy_worker.executors.starting import Starter

LINGER = 0.25
"""Seconds that pipes may stay silent after the process ended before they are closed: something else holds them open."""
MOST_LINGERS = 20
CLOSED_PATIENCE = 1.0
"""Seconds that a process may live on after it closed stdout or stdin."""
GROUP_PATIENCE = 1.0
"""Seconds that other processes of the group may live on after their leader."""
_GROUP_LOOK = 0.05


class ProcessOwner(Protocol):
    """Hears of one process. Called on the event loop's thread."""

    def stdout_data(self, data: bytes) -> None:
        """It wrote to stdout."""

    def stderr_data(self, data: bytes) -> None:
        """It wrote to stderr."""

    def process_broke(self, how: str) -> None:
        """It lives but closed the pipe it is talked to through; `how` completes "the process ..."."""

    def process_gone(self, returncode: int) -> None:
        """It and its process group ended, and everything it wrote was handed over."""


class Process:
    """One process, from `start` to its end.

    Args:
        owner: Hears of it.
        records: Where live children are written down.
        starter: Starts it.

    Attributes:
        pid: Its id, also that of its process group and session.
        gone: Done once it, and what else is left of its group, has ended.
    """

    def __init__(self, owner: ProcessOwner, records: ChildRecords, starter: Starter) -> None:
        self._owner = owner
        self._records = records
        self._starter = starter
        self._loop = asyncio.get_running_loop()
        self._streams: list[OutputPipe] = []
        self._open_streams = 0
        self._stdin: StdinPipe | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._kill_at = float("inf")
        self._asked = False
        self._returncode: int | None = None
        self._heard = False
        self._lingers = 0
        self._clearing = False
        self._finished = False
        self._broken = False
        self.pid = 0
        self.gone: asyncio.Future[None] = self._loop.create_future()

    async def start(self, launch: Launch) -> None:
        """Start it in a session of its own; the kernel kills it if this process dies.

        Raises:
            ExecutorStartError: It could not be started.
        """
        try:
            self._unless_asked()
            try:
                await self._open(launch)
            except ForkerLostError:  # with other pipes, in case that it was started after all
                await self._open(launch)
        except BaseException as error:
            self._finished = True
            self._kill()
            self._leave()
            if isinstance(error, OSError | ValueError | subprocess.SubprocessError):
                raise ExecutorStartError(f"cannot start {launch.argv[0]!r} in {launch.cwd}: {error}") from error
            raise

    def _unless_asked(self) -> None:
        if self._asked:
            raise ExecutorStartError("the process was ended before it was started")

    async def _open(self, launch: Launch) -> None:
        """Pipes, then the process. On any error the pipes are closed again."""
        theirs: list[int] = []
        try:
            stdin, ours = os.pipe()
            theirs.append(stdin)
            self._stdin = StdinPipe(ours, self._loop, lambda: self._check_later("closed its stdin"))
            theirs.append(self._read_from(self._stdout_data, self._stdout_closed))
            theirs.append(self._read_from(self._stderr_data, self._stream_closed))
            started = await self._starter.start(launch, *theirs)
        except BaseException:
            self._close()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self.pid = started.pid
        watch_exit(self.pid, started.wait, self._loop, self._exited)
        self._records.add(self.pid, launch.env)
        if self._asked:  # meanwhile
            self._signal_group(signal.SIGKILL if self._loop.time() >= self._kill_at else signal.SIGTERM)

    def write(self, data: bytes) -> None:
        """Send bytes to its stdin; never blocks."""
        if self._stdin is not None:
            self._stdin.write(data)

    def unread(self) -> int:
        """Bytes sent of which it is sure that it never read them; 0 once stdin was closed."""
        return self._stdin.unread() if self._stdin is not None else 0

    def close_stdin(self) -> None:
        """Tell it that nothing more comes."""
        if self._stdin is not None:
            self._stdin.close()

    def end(self, grace: float) -> None:
        """Close stdin, SIGTERM to its group now, SIGKILL after `grace` seconds. Asked again, the sooner time holds."""
        if self._finished or self._returncode is not None:
            return
        self.close_stdin()
        if not self._asked:
            self._asked = True
            self._signal_group(signal.SIGTERM if grace > 0 else signal.SIGKILL)
        kill_at = self._loop.time() + grace
        if kill_at < self._kill_at:
            self._kill_at = kill_at
            self._set_timer(grace, self._kill)

    def _read_from(self, received: Callable[[bytes], None], closed: Callable[[], None]) -> int:
        """Open a pipe and read its one end; returns the other."""
        ours, theirs = os.pipe()
        self._streams.append(OutputPipe(ours, self._loop, received, closed))
        self._open_streams += 1
        return theirs

    def _stdout_data(self, data: bytes) -> None:
        self._heard = True
        self._owner.stdout_data(data)

    def _stderr_data(self, data: bytes) -> None:
        self._heard = True
        self._owner.stderr_data(data)

    def _stdout_closed(self) -> None:
        self._stream_closed()
        self._check_later("closed its stdout")

    def _stream_closed(self) -> None:
        self._open_streams -= 1
        if self._returncode is not None and not self._open_streams:
            self._clear_group()

    def _check_later(self, how: str) -> None:
        """A pipe was closed: that is how an exit begins, so look again in a moment."""
        if not self._finished and self._returncode is None and not self._asked:
            self._loop.call_later(CLOSED_PATIENCE, self._check, how)

    def _check(self, how: str) -> None:
        if not self._finished and self._returncode is None and not self._asked and not self._broken:
            self._broken = True
            self._owner.process_broke(how)

    def _exited(self, returncode: int) -> None:
        self._returncode = returncode
        self._signal_group(signal.SIGTERM)
        if self._open_streams:
            self._set_timer(LINGER, self._linger)
        else:
            self._clear_group()

    def _linger(self) -> None:
        self._lingers += 1
        if self._heard and self._lingers < MOST_LINGERS:
            self._heard = False
            self._set_timer(LINGER, self._linger)
        else:
            self._clear_group()

    def _clear_group(self) -> None:
        """The process has ended and was heard out; what it started must end too before its tasks run elsewhere."""
        if not self._clearing:
            self._clearing = True
            self._sweep(self._loop.time() + GROUP_PATIENCE)

    def _sweep(self, until: float) -> None:
        """Wait for the rest of the group, which got SIGTERM; in the end kill it."""
        now = self._loop.time()
        if now < until + GROUP_PATIENCE and group_lives(self.pid):
            if now >= until:
                self._signal_group(signal.SIGKILL)
            self._set_timer(_GROUP_LOOK, lambda: self._sweep(until))
        else:
            self._finish()

    def _finish(self) -> None:
        if self._finished or self._returncode is None:
            return
        self._finished = True
        self._set_timer(None)
        try:
            self._owner.process_gone(self._returncode)
        finally:
            self._close()
            self._leave()

    def _leave(self) -> None:
        self._records.remove(self.pid)
        if not self.gone.done():
            self.gone.set_result(None)

    def _close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        self._open_streams = 0
        self.close_stdin()

    def _kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        if self.pid:
            signal_group(self.pid, number)

    def _set_timer(self, delay: float | None, callback: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay is None or callback is None else self._loop.call_later(delay, callback)
