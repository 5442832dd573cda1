"""Writes log records into systemd's journal field by field, over the journal's own socket.

One datagram an entry, in the form of https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: `NAME=value` and a line break for
each field, or `NAME`, a line break, the length as 64 bits, and the value where that has line breaks itself. What is too
large for a datagram goes into a sealed memory file, whose descriptor is sent instead.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import socket
import struct
from typing import TYPE_CHECKING

from runqy_worker.telemetry.escaping import printable
from runqy_worker.telemetry.formats import JournalText, syslog_priority
from runqy_worker.telemetry.message_ids import MESSAGE_IDS
from runqy_worker.telemetry.records import WORKER, facts, fields_of, source_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOCKET = "/run/systemd/journal/socket"
WORKER_NAME, TASK_NAME = "runqy-worker", "runqy-task"
"""What `journalctl -t` knows our own lines by, and those of the task code."""
PATIENCE = 0.2
"""Seconds that the journal may keep us waiting for one entry; everything else in the worker waits meanwhile."""
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_TOO_LARGE = {errno.EMSGSIZE, errno.ENOBUFS}
_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9_]")
_LONGEST_NAME = 64


class JournalHandler(logging.Handler):
    """Each record is one entry: `MESSAGE`, `PRIORITY`, `SYSLOG_IDENTIFIER`, `RUNQY_...` for its facts and fields.

    An entry that the journal does not take in time is lost; how many were is told by the next that it takes.

    Args:
        path: The journal's socket.
    """

    def __init__(self, path: str | Path = SOCKET) -> None:
        super().__init__()
        self.setFormatter(JournalText())
        self._path = str(path)
        self._lost = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(PATIENCE)

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record."""
        try:
            entry = encoded(self._fields(record))
        except Exception:  # noqa: BLE001 - logging's own boundary: it shows what is wrong with the record on stderr
            self.handleError(record)
            return
        try:
            if self._lost:
                self._send(encoded(_gap(self._lost)))
                self._lost = 0
            self._send(entry)
        except OSError:  # it is being restarted, or stands still
            self._lost += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> Iterator[tuple[str, object]]:
        source = source_of(record)
        yield "MESSAGE", self.format(record)
        yield "PRIORITY", syslog_priority(record.levelno)
        yield "SYSLOG_IDENTIFIER", WORKER_NAME if source == WORKER else TASK_NAME
        if source != WORKER:
            yield "RUNQY_STREAM", source
        known = facts(record)
        message_id = MESSAGE_IDS.get(str(known.get("action", "")))
        if message_id:
            yield "MESSAGE_ID", message_id
        for name, value in (*known.items(), *fields_of(record).items()):
            yield field_name(name), value
        if record.name != "runqy_worker":
            yield "LOGGER", record.name

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.sendto(entry, self._path)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_file(entry)

    def _send_file(self, entry: bytes) -> None:
        descriptor = os.memfd_create("runqy-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with contextlib.closing(os.fdopen(descriptor, "wb", closefd=True)) as file:
            file.write(entry)
            file.flush()
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))
            self._socket.sendmsg([], [passed], 0, self._path)


def field_name(name: str) -> str:
    """The journal's name of a fact or field: `task_id` is `RUNQY_TASK_ID`."""
    return f"RUNQY_{_NOT_IN_A_NAME.sub('_', name.upper())}"[:_LONGEST_NAME]


def encoded(fields: Iterator[tuple[str, object]]) -> bytes:
    """The datagram of an entry."""
    out = bytearray()
    for name, value in fields:
        data = _text(value).encode(errors="replace")
        if b"\n" in data:
            out += b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(data)), data)
        else:
            out += b"%b=%b\n" % (name.encode(), data)
    return bytes(out)


def _text(value: object) -> str:
    """Without control characters: `journalctl` would show a blob instead."""
    if isinstance(value, (list, tuple, set, frozenset)):
        value = ",".join(map(str, value))
    return printable(str(value))


def _gap(lost: int) -> Iterator[tuple[str, object]]:
    yield "MESSAGE", f"{lost} log entries were lost: the journal did not take them in time"
    yield "PRIORITY", syslog_priority(logging.WARNING)
    yield "SYSLOG_IDENTIFIER", WORKER_NAME
    yield "RUNQY_ACTION", "log_entries_lost"
    yield "RUNQY_LOST", lost
