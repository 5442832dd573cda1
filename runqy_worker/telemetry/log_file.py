"""The log of a daemon without a service manager: a file, followed when it is rotated, or the system's log."""

from __future__ import annotations

import logging
import os
from logging.handlers import SysLogHandler, WatchedFileHandler
from typing import TYPE_CHECKING

from runqy_worker.telemetry.formats import ConsoleFormatter, JsonFormatter

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

SYSTEM_LOG = "/dev/log"
_STANDARD = (1, 2)


class FollowedFile(WatchedFileHandler):
    """A log file that is opened anew once it was renamed or removed, as logrotate does.

    The standard output and error, where what is not logged ends up, are moved along with it.
    """

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        for descriptor in _STANDARD:
            os.dup2(stream.fileno(), descriptor)
        return stream

    def follow(self) -> None:
        """Look now, instead of at the next line."""
        self.acquire()
        try:
            self.reopenIfNeeded()
        finally:
            self.release()


def daemon_handler(path: Path | None, form: str) -> logging.Handler:
    """The handler for a log file, or for the system's log when there is none.

    Args:
        path: The file; made when missing.
        form: `log.format`; all but `json` are lines for people.

    Raises:
        OSError: The file can't be opened.
    """
    handler: logging.Handler
    if path is None:
        handler = SysLogHandler(SYSTEM_LOG, SysLogHandler.LOG_DAEMON)
        handler.ident = f"runqy-worker[{os.getpid()}]: "
        handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter("%(message)s"))
        return handler
    handler = FollowedFile(path, encoding="utf-8")
    handler.setFormatter(JsonFormatter() if form == "json" else ConsoleFormatter(colour=False))
    return handler
