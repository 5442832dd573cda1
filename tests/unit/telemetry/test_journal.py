"""What arrives at the journal's socket."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from runqy_worker.domain.task import Task
from runqy_worker.telemetry.journal import JournalHandler, field_name
from runqy_worker.telemetry.message_ids import MESSAGE_IDS
from runqy_worker.telemetry.records import emit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Journal:
    """Takes entries as journald does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open()

    def open(self) -> None:
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.bind(str(self.path))

    def entry(self) -> dict[str, str]:
        data, passed, _flags, _address = self.socket.recvmsg(2**20, 1024)
        if passed:
            [descriptor] = struct.unpack("i", passed[0][2])
            assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE
            with os.fdopen(descriptor, "rb") as file:
                file.seek(0)
                data = file.read()
        return parsed(data)


def parsed(data: bytes) -> dict[str, str]:
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            [length] = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + length], data[9 + length :]
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "socket")
    yield made
    made.socket.close()


@pytest.fixture
def logger(journal: Journal, restored_logging: object) -> Iterator[logging.Logger]:
    logger = logging.getLogger("runqy_worker")
    handler = JournalHandler(journal.path)
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger
    handler.close()


def task() -> Task:
    return Task("t-1", "t", b"{}", "inference.high", retried=1)


def test_a_line_about_a_task_carries_its_facts_as_fields(journal: Journal, logger: logging.Logger) -> None:
    fields = {"type": "predict", "seconds": 0.5}
    emit(logger, logging.WARNING, "task t-1 failed: no luck", action="task_failed", task=task(), fields=fields)
    assert journal.entry() == {
        "MESSAGE": "task t-1 failed: no luck queue=inference.high attempt=2 type=predict seconds=0.5",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "runqy-worker",
        "MESSAGE_ID": MESSAGE_IDS["task_failed"],
        "RUNQY_ACTION": "task_failed",
        "RUNQY_TASK_ID": "t-1",
        "RUNQY_QUEUE": "inference.high",
        "RUNQY_ATTEMPT": "2",
        "RUNQY_TYPE": "predict",
        "RUNQY_SECONDS": "0.5",
    }


def test_what_task_code_printed_is_found_by_its_own_name_and_by_its_task(
    journal: Journal, logger: logging.Logger
) -> None:
    emit(logger, logging.INFO, "loss=0.1", action="task_output", task=task(), source="stderr")
    entry = journal.entry()
    assert entry["MESSAGE"] == "loss=0.1"
    assert entry["SYSLOG_IDENTIFIER"] == "runqy-task"
    assert (entry["RUNQY_STREAM"], entry["RUNQY_TASK_ID"]) == ("stderr", "t-1")


def test_line_breaks_stay_and_forge_no_field(journal: Journal, logger: logging.Logger) -> None:
    emit(logger, logging.INFO, "one\nPRIORITY=0\n\x1b[31mthree", action="task_output", source="stdout")
    entry = journal.entry()
    assert entry["MESSAGE"] == "one\nPRIORITY=0\n\\x1b[31mthree"
    assert entry["PRIORITY"] == "6"


def test_the_traceback_is_part_of_the_entry(journal: Journal, logger: logging.Logger) -> None:
    try:
        int("bad")
    except ValueError:
        logger.exception("it went wrong")
    message = journal.entry()["MESSAGE"]
    assert message.startswith("it went wrong\nTraceback")
    assert message.endswith("base 10: 'bad'")


@pytest.mark.parametrize("size", [300_000, 4_000_000])
def test_what_is_too_large_for_a_datagram_arrives_whole(journal: Journal, logger: logging.Logger, size: int) -> None:
    logger.info("%s", "x" * size)
    assert journal.entry()["MESSAGE"] == "x" * size


def test_what_the_journal_did_not_take_is_counted_and_told(journal: Journal, logger: logging.Logger) -> None:
    journal.socket.close()
    logger.info("lost")
    logger.info("lost as well")
    journal.open()
    logger.info("there again")
    told = journal.entry()
    assert (told["RUNQY_LOST"], told["PRIORITY"]) == ("2", "4")
    assert journal.entry()["MESSAGE"] == "there again"


def test_a_journal_that_stands_still_holds_nobody_up_for_long(journal: Journal, logger: logging.Logger) -> None:
    for number in range(1000):
        logger.info("number %d", number)
        if logger.handlers[0]._lost:  # type: ignore[attr-defined]
            break
    assert journal.entry()["MESSAGE"] == "number 0"


def test_names_of_fields_are_what_the_journal_allows() -> None:
    assert field_name("task_id") == "RUNQY_TASK_ID"
    assert field_name("left-out é") == "RUNQY_LEFT_OUT__"
    assert len(field_name("x" * 100)) == 64


def test_ids_of_messages_are_distinct() -> None:
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)
    assert all(len(bytes.fromhex(value)) == 16 for value in MESSAGE_IDS.values())
