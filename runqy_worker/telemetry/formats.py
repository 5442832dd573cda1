"""The forms of a log line: for people, for collectors, for the journal."""

from __future__ import annotations

import logging
import time

from runqy_worker.telemetry.escaping import field_text, folded, json_line
from runqy_worker.telemetry.records import WORKER, facts, fields_of, source_of

_DIM, _RESET = "\x1b[2m", "\x1b[0m"
_COLOURS = {logging.DEBUG: _DIM, logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[1;31m"}


class _LineFormatter(logging.Formatter):
    """What the forms have in common: text, key=value pairs, and a traceback as continuation lines."""

    def _pairs(self, record: logging.LogRecord, message: str) -> str:
        """` key=value` for each fact that the message does not already tell."""
        pairs = []
        for name, value in facts(record).items():
            if name == "action" or (name == "task_id" and str(value) in message):
                continue
            pairs.append(f" {name}={field_text(value)}")
        pairs.extend(f" {name}={field_text(value)}" for name, value in fields_of(record).items())
        return "".join(pairs)

    def _message(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        source = source_of(record)
        return message if source == WORKER else f"{source} | {message}"

    def _trace(self, record: logging.LogRecord) -> str:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return "\n" + record.exc_text if record.exc_text else ""


class ConsoleFormatter(_LineFormatter):
    """`2026-01-31 12:00:00.000 INFO    message  key=value`, local time, coloured on request."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The whole entry; further lines are marked as continuations."""
        message = self._message(record)
        pairs = self._pairs(record, message)
        head, _, rest = message.partition("\n")
        line = f"{self._when(record.created)} {record.levelname:<7} {folded(head)}"
        tail = folded("\n" + rest) if rest else ""
        if self._colour:
            line = f"{_COLOURS.get(record.levelno, '')}{line}{_RESET}"
            pairs = f"{_DIM}{pairs}{_RESET}" if pairs else ""
        return f"{line}{' ' if pairs else ''}{pairs}{tail}{folded(self._trace(record))}"

    def _when(self, created: float) -> str:
        second = int(created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)))
        return f"{self._second[1]}.{int((created - second) * 1000):03d}"


class JsonFormatter(_LineFormatter):
    """One object a line: `ts` (UTC), `level`, `message`, `source`, the task's facts, `fields`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        second = int(record.created)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        document: dict[str, object] = {
            "ts": f"{stamp}.{int((record.created - second) * 1000):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **facts(record),
        }
        if source_of(record) != WORKER:
            document["source"] = source_of(record)
        if record.name != "runqy_worker":
            document["logger"] = record.name
        fields = fields_of(record)
        if fields:
            document["fields"] = dict(fields)
        trace = self._trace(record)
        if trace:
            document["exception"] = trace.strip()
        return json_line(document)


class JournalFormatter(_LineFormatter):
    """`<N>message key=value`: syslog's priority before each line, no time, which the journal adds itself."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole entry; each line has its prefix, so that none can claim another priority."""
        prefix = f"<{syslog_priority(record.levelno)}>"
        message = self._message(record)
        head, _, rest = message.partition("\n")
        text = folded(head) + self._pairs(record, message) + folded("\n" + rest if rest else "")
        return prefix + (text + folded(self._trace(record))).replace("\n", "\n" + prefix)


class JournalText(_LineFormatter):
    """What `journalctl` shows of an entry whose facts are fields of their own: the text, and what it does not tell."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole text, on as many lines as it has."""
        message = record.getMessage()
        if source_of(record) != WORKER:
            return message
        head, line_break, rest = message.partition("\n")
        return head + self._pairs(record, message) + line_break + rest + self._trace(record)


def syslog_priority(level: int) -> int:
    """The syslog priority of a logging level."""
    for floor, priority in ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)):
        if level >= floor:
            return priority
    return 7
