"""Becoming a daemon on a host without a service manager, in such a way that the command knows how that went."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runqy_worker.service.foreground import Foreground, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from runqy_worker.service.pid_file import PidFile

UMASK = 0o027


@dataclass(frozen=True, slots=True)
class Parted:
    """Which of the two sides this process is.

    Attributes:
        code: For the command that was called: its exit code. None in the daemon.
        foreground: For the daemon: whom to tell. None in the command.
    """

    code: int | None = None
    foreground: Foreground | None = None


def part(pid_file: PidFile, *, limit: float, say: Callable[[str], None]) -> Parted:
    """Fork a daemon off, and in the command itself wait until that is ready or has failed.

    Must be called before any thread or event loop. The daemon keeps the current directory, so that relative paths
    mean the same; its standard output and error go nowhere until a log takes them.

    Args:
        pid_file: Taken already; the daemon holds and writes it.
        limit: Seconds that the command waits for it.
        say: Told what the daemon says meanwhile.
    """
    import daemon  # noqa: PLC0415 - only hosts without a service manager need it

    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        os.close(pid_file.descriptor)
        os.waitpid(child, 0)  # it forks the daemon off and ends
        try:
            return Parted(code=wait(reading, limit, say))
        finally:
            os.close(reading)
    os.close(reading)
    context = daemon.DaemonContext(
        files_preserve=[writing, pid_file.descriptor],
        working_directory=str(Path.cwd()),
        umask=UMASK,
        detach_process=True,
        signal_map={},
    )
    context.open()
    pid_file.write()
    return Parted(foreground=Foreground(writing))
