"""Keeps the last log lines until they are shipped, for the live log view of the server."""

from __future__ import annotations

import logging
from collections import deque

from runqy_worker.domain.registry import LogLine
from runqy_worker.telemetry.records import source_of

KEPT = 500
"""Lines kept between two shipments, and lines that the view shows."""


class Tail(logging.Handler):
    """A log handler: what the log shows, the tail holds, numbered from 1.

    Add it to the logger that the worker writes to. When more than `KEPT` lines come between two calls of `drain`, the
    oldest are dropped; the gap shows in their numbers.
    """

    def __init__(self, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._lines: deque[LogLine] = deque(maxlen=KEPT)
        self._last = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self._last += 1
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {record.exc_info[1]!r}"
        self._lines.append(LogLine(int(record.created * 1000), source_of(record), text, self._last))

    def drain(self) -> list[LogLine]:
        """The lines that came since the last call, oldest first."""
        self.acquire()  # other threads may log
        try:
            lines = list(self._lines)
            self._lines.clear()
        finally:
            self.release()
        return lines
