"""Starts processes: in a session of their own, tied to the daemon's life, with nothing inherited but three streams."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runqy_worker.executors.exit_watch import wait_for_exit
from runqy_worker.executors.forker import Forker
from runqy_worker.executors.guard import die_with_parent, prefer_as_oom_victim

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.domain.launch import Launch
    from runqy_worker.executors.notices import LimitedNotices


@dataclass(frozen=True, slots=True)
class Started:
    """A process that was started and not reaped.

    Attributes:
        pid: Its id, also that of its session and process group.
        wait: Blocks until it has ended, reaps it, and gives its return code.
    """

    pid: int
    wait: Callable[[], int]


class Starter:
    """Starts the processes of one executor.

    Args:
        notices: Told when the faster way is lost.
    """

    def __init__(self, notices: LimitedNotices) -> None:
        self._notices = notices
        self._forker: Forker | None = None

    def expect_many(self) -> None:
        """Prepare the faster way, which pays where many processes are started; from now on it is kept up."""
        if self._forker is None:
            self._forker = Forker(self._notices)
        self._forker.begin()

    async def start(self, launch: Launch, stdin: int, stdout: int, stderr: int) -> Started:
        """Start a process with these streams; the kernel kills it if the daemon dies.

        Raises:
            ForkerLostError: It is unknown whether it was started: close the pipes, and try again with others.
            OSError, ValueError, subprocess.SubprocessError: It could not be started.
        """
        if self._forker is not None:
            self._forker.begin()
            answer = self._forker.ask(launch, stdin, stdout, stderr)
            if answer is not None:
                try:
                    pid = await answer
                except asyncio.CancelledError:
                    self._forker.give_up(answer)
                    raise
                return Started(pid, lambda: wait_for_exit(pid))
        return _start_directly(launch, stdin, stdout, stderr)

    async def close(self) -> None:
        """Give up the faster way."""
        if self._forker is not None:
            await self._forker.close()
            self._forker = None


def _start_directly(launch: Launch, stdin: int, stdout: int, stderr: int) -> Started:
    # Without a shell. Not through the event loop: what is inherited and how the end is noticed must not depend on
    # which loop runs. Takes some milliseconds, since the page tables of all of the daemon's memory are copied.
    process = subprocess.Popen(
        launch.argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=launch.cwd,
        env=dict(launch.env),
        start_new_session=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - one prepared system call, safe between fork and exec
    )
    prefer_as_oom_victim(process.pid)
    return Started(process.pid, process.wait)
