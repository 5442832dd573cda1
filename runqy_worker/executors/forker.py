"""The daemon's side of the small process that starts others, so that the daemon need not fork itself."""

from __future__ import annotations

import asyncio
import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.domain.events import Level
from runqy_worker.executors.exit_watch import wait_for_exit, watch_exit

if TYPE_CHECKING:
    from runqy_worker.domain.launch import Launch
    from runqy_worker.executors.notices import LimitedNotices

RETRY_PAUSE = 10.0
"""Seconds until a forker that ended is started again."""
END_PATIENCE = 1.0
"""Seconds that it gets to end by itself."""
_NAME = "forker_process"
_PROGRAM = os.open(Path(__file__).with_name(f"{_NAME}.py"), os.O_RDONLY | os.O_CLOEXEC)
"""Kept open: an upgrade may put another in its place, which speaks another language."""
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
"""Numbers of the system call, by machine; elsewhere there is no forker."""
_ANSWER = struct.Struct("ii")
_PASSED_ON = ("LD_LIBRARY_PATH",)


class ForkerLostError(OSError):
    """The forker ended before it answered: whether the process was started is unknown."""


class Forker:
    """Starts processes for one executor, from one thread's event loop.

    Where it can't be had, or has just ended, it takes no requests, and processes are to be started without it.

    Args:
        notices: Told when it ended.
    """

    def __init__(self, notices: LimitedNotices) -> None:
        self._notices = notices
        self._clone = _CLONE.get(os.uname().machine) if sys.platform == "linux" and sys.maxsize > 2**32 else None
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._ready = False
        self._heard = b""
        self._answers: deque[asyncio.Future[int]] = deque()
        self._again_at = 0.0
        self._launch: Launch | None = None
        self._job = -1
        self._process: tuple[int, asyncio.Future[int]] | None = None
        self._reaping: set[asyncio.Future[int]] = set()

    def begin(self) -> None:
        """Start it, unless it runs, or ended a moment ago, or is not for this machine."""
        if self._socket is not None or self._clone is None or not sys.executable or self._loop.time() < self._again_at:
            return
        self._again_at = self._loop.time() + RETRY_PAUSE
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        arguments = [str(theirs.fileno()), str(os.getpid()), str(self._clone)]
        try:
            process = subprocess.Popen(
                [sys.executable, "-IS", f"/dev/fd/{_PROGRAM}", _NAME, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                pass_fds=[_PROGRAM, theirs.fileno()],
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            ours.close()
            self._notices.emit("forker_failed", f"processes are started the slower way: {error}", Level.INFO)
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self._loop.add_reader(ours, self._read, ours)
        gone: asyncio.Future[int] = self._loop.create_future()
        watch_exit(process.pid, process.wait, self._loop, gone.set_result)
        self._process = (process.pid, gone)

    def ask(self, launch: Launch, stdin: int, stdout: int, stderr: int) -> asyncio.Future[int] | None:
        """Ask for a process in a session of its own; None when it can't take the request now.

        The descriptors are passed on; they may be closed here.

        Returns:
            The id of the process, which is a child of this one. Or `OSError`: it could not be started; or
            `ForkerLostError`: it may or may not have been.

        Raises:
            ValueError: The launch can't be written down.
        """
        if self._socket is None or not self._ready:
            return None
        try:
            socket.send_fds(self._socket, [b"+"], [self._job_of(launch), stdin, stdout, stderr])
        except OSError:  # too many requests under way, or it ended and that is not yet known
            return None
        answer: asyncio.Future[int] = self._loop.create_future()
        self._answers.append(answer)
        return answer

    def give_up(self, answer: asyncio.Future[int]) -> None:
        """Nobody wants the process any more that was asked for: kill it, now or when it was started."""
        if not answer.cancel() and not answer.cancelled() and answer.exception() is None:
            self._kill(answer.result())

    async def close(self) -> None:
        """End it."""
        self._let_go()
        if self._process is not None:
            pid, gone = self._process
            await asyncio.wait([gone], timeout=END_PATIENCE)
            if not gone.done():
                os.kill(pid, signal.SIGKILL)
                await gone
            self._process = None
        if self._reaping:
            await asyncio.wait(self._reaping, timeout=END_PATIENCE)

    def _let_go(self) -> None:
        """No more requests; it ends by itself once it sees that."""
        self._ready = False
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
            self._heard = b""
        if self._job >= 0:
            os.close(self._job)
            self._job, self._launch = -1, None
        while self._answers:
            answer = self._answers.popleft()
            if not answer.done():
                answer.set_exception(ForkerLostError())

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._heard += data
        while len(self._heard) >= _ANSWER.size:
            pid, error = _ANSWER.unpack_from(self._heard)
            self._heard = self._heard[_ANSWER.size :]
            if self._ready:
                self._answered(pid, error)
            self._ready = True
        if not data:
            self._let_go()
            self._notices.emit("forker_lost", "the process that starts others ended; another one is started")

    def _answered(self, pid: int, error: int) -> None:
        answer = self._answers.popleft()
        if error:
            if pid:  # it could not become the program, and ends
                self._reap(pid)
            if not answer.cancelled():
                answer.set_exception(OSError(error, os.strerror(error)))
        elif answer.cancelled():
            self._kill(pid)
        else:
            answer.set_result(pid)

    def _kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self._reap(pid)

    def _reap(self, pid: int) -> None:
        gone: asyncio.Future[int] = self._loop.create_future()
        self._reaping.add(gone)
        gone.add_done_callback(self._reaping.discard)
        watch_exit(pid, lambda: wait_for_exit(pid), self._loop, gone.set_result)

    def _job_of(self, launch: Launch) -> int:
        """A file in memory that says what to start; written once for each release."""
        if launch is not self._launch:
            job = os.memfd_create("launch")
            os.write(job, encode_job(launch))
            if self._job >= 0:
                os.close(self._job)
            self._job, self._launch = job, launch
        return self._job


def encode_job(launch: Launch) -> bytes:
    """The programs to try, the arguments, the directory and the environment, as the forker takes them.

    Raises:
        ValueError: Something holds a null byte, or a variable's name an equals sign.
    """
    name = launch.argv[0]
    folders = launch.env.get("PATH", os.defpath).split(os.pathsep)
    programs = (name,) if "/" in name else tuple(f"{folder or '.'}/{name}" for folder in folders)
    texts = (*programs, *launch.argv, str(launch.cwd), *launch.env.keys(), *launch.env.values())
    if any("\0" in text for text in texts) or any("=" in name for name in launch.env):
        raise ValueError("an argument or a variable holds a null byte, or a variable's name an equals sign")
    encode = os.fsencode
    environ = {encode(name): encode(value) for name, value in launch.env.items()}
    job = (tuple(map(encode, programs)), tuple(map(encode, launch.argv)), encode(launch.cwd), environ)
    return marshal.dumps(job)
